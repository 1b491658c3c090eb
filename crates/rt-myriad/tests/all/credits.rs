//! Two ends of a link, their messages delivered in any order of turns: credits are kept, packets arrive in their order.

use std::collections::VecDeque;

use proptest::prelude::*;
use rt_myriad::protocol::{Dialect, Header, MAX_PACKETS, MessageKind, StreamError, Streams};

const BUFFER: u32 = 256;

/// An end with what is under way to it.
struct End {
    streams: Streams,
    inbox: VecDeque<(Header, Vec<u8>)>,
    sent: usize,
    got: Vec<Vec<u8>>,
}

impl End {
    fn new() -> Self {
        let streams = Streams::new(Dialect::OpenVino2020, 1 << 16);
        Self { streams, inbox: VecDeque::new(), sent: 0, got: Vec::new() }
    }
}

/// Takes in the next message for `to`; its answer goes back.
fn deliver(to: &mut End, from: &mut End) {
    let Some((header, packet)) = to.inbox.pop_front() else { return };
    assert_eq!(to.streams.payload_len(&header).unwrap(), packet.len());
    if let Some(answer) = to.streams.receive(&header, packet).unwrap() {
        from.inbox.push_back((answer, Vec::new()));
    }
}

fn open(end: &mut End, other: &mut End, name: &str) -> u32 {
    let header = end.streams.open(name, BUFFER).unwrap();
    let id = header.id;
    other.inbox.push_back((header, Vec::new()));
    deliver(other, end);
    deliver(end, other);
    let answer = end.streams.answer(id).unwrap();
    end.streams.opened(&answer).unwrap()
}

/// Packet `index`, which says who it is.
fn packet(index: usize, len: usize) -> Vec<u8> {
    vec![u8::try_from(index % 251).unwrap(); len]
}

fn write(end: &mut End, other: &mut End, stream: u32, len: usize) {
    if let Some(header) = end.streams.begin_write(stream, len).unwrap() {
        other.inbox.push_back((header, packet(end.sent, len)));
        end.sent += 1;
    }
    let (fill, packets) = end.streams.under_way(stream).unwrap();
    assert!(fill <= BUFFER && packets <= MAX_PACKETS);
}

fn take(end: &mut End, other: &mut End, stream: u32) {
    if let Some((packet, release)) = end.streams.take(stream).unwrap() {
        other.inbox.push_back((release, Vec::new()));
        end.got.push(packet);
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_and_no_credit_is_overdrawn(
        turns in proptest::collection::vec((0_u8..6, 0_usize..=BUFFER as usize), 0..400)
    ) {
        let (mut host, mut device) = (End::new(), End::new());
        let to_device = open(&mut host, &mut device, "deviceMonitor");
        let to_host = open(&mut device, &mut host, "deviceMonitor");
        prop_assert_eq!(to_device, to_host);
        for (turn, len) in turns {
            match turn {
                0 => write(&mut host, &mut device, to_device, len),
                1 => write(&mut device, &mut host, to_device, len),
                2 => deliver(&mut host, &mut device),
                3 => deliver(&mut device, &mut host),
                4 => take(&mut host, &mut device, to_device),
                _ => take(&mut device, &mut host, to_device),
            }
        }
        // Everything is delivered and taken: all credit comes back.
        loop {
            for _ in 0..MAX_PACKETS {
                take(&mut host, &mut device, to_device);
                take(&mut device, &mut host, to_device);
            }
            if host.inbox.is_empty() && device.inbox.is_empty() {
                break;
            }
            deliver(&mut host, &mut device);
            deliver(&mut device, &mut host);
        }
        for end in [&mut host, &mut device] {
            prop_assert_eq!(end.streams.under_way(to_device).unwrap(), (0, 0));
        }
        prop_assert_eq!(device.got.len(), host.sent);
        prop_assert_eq!(host.got.len(), device.sent);
        for got in [&host.got, &device.got] {
            for (index, bytes) in got.iter().enumerate() {
                prop_assert_eq!(bytes, &packet(index, bytes.len()));
            }
        }
    }
}

#[test]
fn an_end_that_overdraws_is_found_out() {
    let (mut host, mut device) = (End::new(), End::new());
    let stream = open(&mut host, &mut device, "graphMonitor");
    let write = |id, size| Header::request(id, MessageKind::Write, stream, size);
    device.streams.receive(&write(90, 200), vec![0; 200]).unwrap();
    let error = device.streams.payload_len(&write(91, 57)).unwrap_err();
    assert_eq!(error, StreamError::NoCredit { stream, size: 57, free: 56 });
    let unknown = Header::request(92, MessageKind::Write, 9, 1);
    assert!(matches!(
        device.streams.payload_len(&unknown),
        Err(StreamError::NoStream { stream: 9 })
    ));
    // The host may not be written to: the device has not opened its direction.
    assert!(matches!(host.streams.payload_len(&write(93, 1)), Err(StreamError::NotOpened { .. })));
    let release = Header::request(94, MessageKind::ReadRelease, stream, 1);
    assert!(matches!(
        host.streams.receive(&release, Vec::new()),
        Err(StreamError::NotTaken { .. })
    ));
}

#[test]
fn small_packets_wait_at_the_64th() {
    let (mut host, mut device) = (End::new(), End::new());
    let stream = open(&mut host, &mut device, "graphMonitor");
    for _ in 0..MAX_PACKETS {
        assert!(host.streams.begin_write(stream, 1).unwrap().is_some());
    }
    assert_eq!(host.streams.begin_write(stream, 1), Ok(None));
    let too_large = host.streams.begin_write(stream, 257);
    assert!(matches!(too_large, Err(StreamError::TooLarge { buffer: BUFFER, .. })));
}

#[test]
fn a_message_that_comes_twice_is_found_out() {
    let mut device = End::new();
    let ping = Header::request(10, MessageKind::Ping, 0, 0);
    assert!(device.streams.receive(&ping, Vec::new()).unwrap().unwrap().is_response);
    let again = device.streams.receive(&ping, Vec::new());
    assert_eq!(again, Err(StreamError::Repeated { id: 10 }));
    let answer = Header::request(11, MessageKind::Ping, 0, 0).response(true);
    let unasked = device.streams.receive(&answer, Vec::new());
    assert_eq!(unasked, Err(StreamError::NoRequest { id: 11 }));
}

#[test]
fn memory_names_and_numbers_are_bounded() {
    let mut device = End::new();
    let create = |id: i32, name: &str, size| Header {
        name: name.into(),
        ..Header::request(id, MessageKind::CreateStream, 0, size)
    };
    let large = device.streams.receive(&create(1, "x", (1 << 16) + 64), Vec::new());
    assert!(matches!(large, Err(StreamError::BufferTooLarge { .. })));
    let mut device = End::new();
    for index in 0..32 {
        device.streams.receive(&create(index, &format!("s{index}"), 64), Vec::new()).unwrap();
    }
    let more = device.streams.receive(&create(40, "more", 64), Vec::new());
    assert_eq!(more, Err(StreamError::TooManyStreams));
    for name in ["", "a b", &"x".repeat(64)] {
        assert!(matches!(device.streams.open(name, 1), Err(StreamError::Name { .. })), "{name}");
    }
}
