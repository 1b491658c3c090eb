//! The header in front of every message.

/// Longest name of a stream in any dialect.
pub const MAX_NAME_LEN: usize = 63;

/// Stands for a stream that does not exist yet.
pub(crate) const NO_STREAM: u32 = 0xdead_dead;

const FLAG_ACK: u32 = 1;
const FLAG_NACK: u32 = 2;
/// In the type field, from a request to its response.
const RESPONSE: u32 = 8;

/// Which headers a firmware speaks. There is no negotiation: the dialect follows from the firmware's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// 84 bytes: `OpenVINO` 2019 R2 to 2020.3.
    OpenVino2020,
    /// 36 bytes: NCSDK 2.05 to 2.10.
    Ncsdk2,
}

impl Dialect {
    /// Bytes of the name, the last of which is zero.
    pub(super) const fn name_len(self) -> usize {
        match self {
            Self::OpenVino2020 => 64,
            Self::Ncsdk2 => 16,
        }
    }

    /// Bytes of a header.
    #[must_use]
    pub const fn header_len(self) -> usize {
        20 + self.name_len()
    }
}

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// A packet for a stream follows the header.
    Write,
    /// A packet was consumed: its bytes may be written again.
    ReadRelease,
    /// The sender wants to write a stream of this name.
    CreateStream,
    /// The sender writes a stream no more.
    CloseStream,
    /// Is anybody there?
    Ping,
    /// The device shall start again in its boot ROM.
    Reset,
}

impl MessageKind {
    const ALL: [(Self, u32); 6] = [
        (Self::Write, 0),
        (Self::ReadRelease, 2),
        (Self::CreateStream, 3),
        (Self::CloseStream, 4),
        (Self::Ping, 5),
        (Self::Reset, 6),
    ];

    fn code(self) -> u32 {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or(7, |&(_, code)| code)
    }
}

/// One message without the packet that may follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number of the request; a response repeats it.
    pub id: i32,
    /// What it is about.
    pub kind: MessageKind,
    /// Whether it answers a request.
    pub is_response: bool,
    /// Whether the answer is yes; requests say yes.
    pub is_ack: bool,
    /// Name of the stream where one is created, and empty otherwise.
    pub name: String,
    /// Number of the stream.
    pub stream: u32,
    /// Bytes: of the packet, of what was consumed, of the buffer.
    pub size: u32,
}

/// Why bytes are no header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The type is none that is ever sent.
    #[error("a message of type {found}, which is never sent: the firmware speaks another dialect?")]
    Kind {
        /// The type.
        found: u32,
    },
    /// The name of a stream has no end, or is no ASCII.
    #[error("the name of a stream is not ASCII that ends with a zero")]
    Name,
}

impl Header {
    /// A request.
    #[must_use]
    pub const fn request(id: i32, kind: MessageKind, stream: u32, size: u32) -> Self {
        Self { id, kind, is_response: false, is_ack: true, name: String::new(), stream, size }
    }

    /// The answer to a request.
    #[must_use]
    pub fn response(&self, is_ack: bool) -> Self {
        Self { is_response: true, is_ack, ..self.clone() }
    }

    /// The bytes of the header.
    ///
    /// # Panics
    /// If the name is longer than the dialect has room for; names are checked when streams are opened.
    #[must_use]
    pub fn encode(&self, dialect: Dialect) -> Vec<u8> {
        let name_len = dialect.name_len();
        assert!(self.name.len() < name_len, "the name {:?} is too long", self.name);
        let code = self.kind.code() + if self.is_response { RESPONSE } else { 0 };
        let flags = if self.is_ack { FLAG_ACK } else { FLAG_NACK };
        let mut bytes = Vec::with_capacity(dialect.header_len());
        bytes.extend(self.id.to_le_bytes());
        bytes.extend(code.to_le_bytes());
        bytes.extend(self.name.as_bytes());
        bytes.resize(8 + name_len, 0);
        bytes.extend(self.stream.to_le_bytes());
        bytes.extend(self.size.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        bytes
    }

    /// Reads a header. Fields that a kind of message does not use are ignored: the vendor's host leaves some of them
    /// uninitialized.
    ///
    /// # Errors
    /// If it is of no kind that is ever sent, or the name of a new stream is none.
    ///
    /// # Panics
    /// If `bytes` are not as many as the dialect's headers have.
    pub fn decode(bytes: &[u8], dialect: Dialect) -> Result<Self, HeaderError> {
        assert!(bytes.len() == dialect.header_len(), "{} bytes for a header", bytes.len());
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let code = word(4);
        let is_response = (RESPONSE..2 * RESPONSE).contains(&code);
        let request = if is_response { code - RESPONSE } else { code };
        let known = MessageKind::ALL.iter().find(|&&(_, code)| code == request);
        let &(kind, _) = known.ok_or(HeaderError::Kind { found: code })?;
        let name_len = dialect.name_len();
        let name = if kind == MessageKind::CreateStream {
            let field = &bytes[8..8 + name_len];
            let end = field.iter().position(|&byte| byte == 0).ok_or(HeaderError::Name)?;
            let name = &field[..end];
            if name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
                return Err(HeaderError::Name);
            }
            String::from_utf8_lossy(name).into_owned()
        } else {
            String::new()
        };
        let [stream, size, flags] = [0, 4, 8].map(|at| word(8 + name_len + at));
        let is_ack = !is_response || flags & FLAG_NACK == 0;
        Ok(Self { id: word(0).cast_signed(), kind, is_response, is_ack, name, stream, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes from a text of hexadecimal digits, with `*n` after a byte that stands `n` times.
    fn bytes(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in text.split_whitespace() {
            if let Some((byte, times)) = word.split_once('*') {
                let byte = u8::from_str_radix(byte, 16).unwrap();
                bytes.extend(core::iter::repeat_n(byte, times.parse().unwrap()));
            } else if let Some(name) = word.strip_prefix('"') {
                bytes.extend(name.bytes());
            } else {
                for at in (0..word.len()).step_by(2) {
                    bytes.push(u8::from_str_radix(&word[at..at + 2], 16).unwrap());
                }
            }
        }
        bytes
    }

    fn check(dialect: Dialect, header: &Header, golden: &str) {
        let golden = bytes(golden);
        assert_eq!(golden.len(), dialect.header_len());
        assert_eq!(header.encode(dialect), golden, "{header:?}");
        assert_eq!(&Header::decode(&golden, dialect).unwrap(), header);
    }

    #[test]
    fn golden_bytes() {
        for (dialect, none, monitor) in [
            (Dialect::Ncsdk2, "00*16", "\"deviceMonitor 00*3"),
            (Dialect::OpenVino2020, "00*64", "\"deviceMonitor 00*51"),
        ] {
            let ping = Header::request(0xa, MessageKind::Ping, 0, 0);
            check(dialect, &ping, &format!("0a000000 05000000 {none} 00000000 00000000 01000000"));
            let create = Header {
                name: "deviceMonitor".into(),
                ..Header::request(0xb, MessageKind::CreateStream, NO_STREAM, 2048)
            };
            let golden = format!("0b000000 03000000 {monitor} addeadde 00080000 01000000");
            check(dialect, &create, &golden);
            let created = Header { stream: 0, ..create.response(true) };
            let golden = format!("0b000000 0b000000 {monitor} 00000000 00080000 01000000");
            check(dialect, &created, &golden);
            let write = Header::request(0xc, MessageKind::Write, 0, 12);
            check(dialect, &write, &format!("0c000000 00000000 {none} 00000000 0c000000 01000000"));
            let refused = Header::request(0xd, MessageKind::CloseStream, 3, 0).response(false);
            let golden = format!("0d000000 0c000000 {none} 03000000 00000000 02000000");
            check(dialect, &refused, &golden);
        }
    }

    #[test]
    fn what_is_never_sent_is_refused() {
        let dialect = Dialect::OpenVino2020;
        for code in [1, 7, 9, 15, 16, u32::MAX] {
            let mut bytes = Header::request(1, MessageKind::Ping, 0, 0).encode(dialect);
            bytes[4..8].copy_from_slice(&code.to_le_bytes());
            let expected = Err(HeaderError::Kind { found: code });
            assert_eq!(Header::decode(&bytes, dialect), expected);
        }
        let mut bytes =
            Header { name: "x".into(), ..Header::request(1, MessageKind::CreateStream, 0, 64) }
                .encode(dialect);
        bytes[8..72].fill(b'x');
        assert_eq!(Header::decode(&bytes, dialect), Err(HeaderError::Name));
        bytes[8..72].fill(0);
        assert_eq!(Header::decode(&bytes, dialect), Err(HeaderError::Name));
    }

    #[test]
    fn fields_that_are_not_used_are_ignored() {
        let dialect = Dialect::Ncsdk2;
        let mut bytes = Header::request(7, MessageKind::ReadRelease, 2, 640).encode(dialect);
        bytes[8..24].fill(0xcc);
        bytes[32..36].copy_from_slice(&0xffff_fffd_u32.to_le_bytes());
        let expected = Header::request(7, MessageKind::ReadRelease, 2, 640);
        assert_eq!(Header::decode(&bytes, dialect), Ok(expected));
    }
}
