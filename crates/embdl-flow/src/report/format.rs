//! Numbers as people read them, and text as HTML may carry it.

/// What stands for a number that is not there.
pub(super) const NONE: &str = "n/a";

/// "91.52%" of 0.9152.
pub(super) fn percent(fraction: f64) -> String {
    if fraction.is_finite() { format!("{:.2}%", 100.0 * fraction) } else { NONE.into() }
}

/// "0.10" of 0.001: a difference of accuracies in percentage points, with a minus sign that never stands before zero.
pub(super) fn points(difference: f64) -> String {
    if !difference.is_finite() {
        return NONE.into();
    }
    let text = format!("{:.2}", 100.0 * difference);
    if text == "-0.00" { "0.00".into() } else { text }
}

/// What compression did to the accuracy, in words.
pub(super) fn loss_in_words(loss: f64) -> String {
    match points(loss).as_str() {
        NONE => "accuracy unknown".into(),
        "0.00" => "at the same accuracy".into(),
        text => match text.strip_prefix('-') {
            Some(gain) => format!("{gain} points more accurate"),
            None => format!("{text} points less accurate"),
        },
    }
}

/// "1,724,320".
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate or a time with three significant digits and thousands separators: "12,345", "123", "12.3", "1.23".
pub(super) fn quantity(number: f64) -> String {
    if !number.is_finite() {
        return NONE.into();
    }
    if number.abs() < 9.995 {
        format!("{number:.2}")
    } else if number.abs() < 99.95 {
        format!("{number:.1}")
    } else {
        let sign = if number < 0.0 { "-" } else { "" };
        #[expect(clippy::cast_possible_truncation, reason = "saturates, which is fine for reading")]
        #[expect(clippy::cast_sign_loss, reason = "the absolute value has no sign")]
        let whole = number.abs().round() as u64;
        format!("{sign}{}", thousands(whole))
    }
}

/// "1.72 MB": three significant digits in powers of 1000.
pub(super) fn bytes(number: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = number as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    if unit == "B" { format!("{number} B") } else { format!("{} {unit}", quantity(value)) }
}

/// "43.0×".
pub(super) fn ratio(ratio: f64) -> String {
    if ratio.is_finite() { format!("{ratio:.1}×") } else { NONE.into() }
}

/// "850 ms", "12.3 s", "3 min 20 s", "1 h 05 min".
pub(super) fn seconds(seconds: f64) -> String {
    if !seconds.is_finite() {
        return NONE.into();
    }
    if seconds < 0.9995 {
        return format!("{:.0} ms", 1000.0 * seconds);
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    #[expect(clippy::cast_possible_truncation, reason = "saturates, which is fine for reading")]
    #[expect(clippy::cast_sign_loss, reason = "at least 59.95")]
    let whole = seconds.round() as u64;
    if whole < 3600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        format!("{} h {:02} min", whole / 3600, whole % 3600 / 60)
    }
}

/// "740 ns", "12.3 µs", "4.56 ms".
pub(super) fn microseconds(time: f64) -> String {
    if !time.is_finite() {
        NONE.into()
    } else if time < 0.9995 {
        format!("{:.0} ns", 1000.0 * time)
    } else if time < 999.5 {
        format!("{} µs", quantity(time))
    } else {
        format!("{} ms", quantity(time / 1000.0))
    }
}

/// The first 12 digits of a digest.
pub(super) fn digest(sha256: &str) -> String {
    sha256.chars().take(12).collect()
}

/// Text with everything replaced that HTML, or an attribute in double quotes, would read as markup; control characters
/// become spaces.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() && c != '\n' => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// At most `width` characters, the last of them an ellipsis if something was cut. Control characters, which a terminal
/// would obey, become question marks.
pub(super) fn shortened(text: &str, width: usize) -> String {
    let text = text.replace(char::is_control, "?");
    if text.chars().count() <= width {
        return text;
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(percent(0.9152), "91.52%");
        assert_eq!(percent(f64::NAN), NONE);
        assert_eq!(points(-0.000_001), "0.00");
        assert_eq!(points(-0.001), "-0.10");
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_724_320), "1,724,320");
        assert_eq!(quantity(9.995), "10.0");
        assert_eq!(quantity(99.96), "100");
        assert_eq!(quantity(12_345.6), "12,346");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_724_320), "1.72 MB");
        assert_eq!(bytes(999_600), "1.00 MB");
        assert_eq!(seconds(0.85), "850 ms");
        assert_eq!(seconds(200.0), "3 min 20 s");
        assert_eq!(seconds(3900.0), "1 h 05 min");
        assert_eq!(microseconds(0.5), "500 ns");
        assert_eq!(microseconds(4560.0), "4.56 ms");
    }

    #[test]
    fn losses_are_words() {
        assert_eq!(loss_in_words(0.001), "0.10 points less accurate");
        assert_eq!(loss_in_words(-0.001), "0.10 points more accurate");
        assert_eq!(loss_in_words(-0.000_001), "at the same accuracy");
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escape("<a href=\"x\">'&\u{1}"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp; ");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(shortened("abcdef", 6), "abcdef");
        assert_eq!(shortened("abc def", 5), "abc…");
        assert_eq!(shortened("\u{1b}[2J", 9), "?[2J");
    }
}
