//! Every message against bytes made by hand.

use super::*;

const LINE: Dialect = Dialect::OpenVino2020;

fn same_in(line: Dialect, command: &GraphCommand, golden: &[u8]) {
    assert_eq!(command.encode(line).unwrap(), golden, "{command:?}");
    assert_eq!(&GraphCommand::decode(golden, line).unwrap(), command);
}

fn same(command: &GraphCommand, golden: &[u8]) {
    same_in(LINE, command, golden);
}

#[test]
fn commands_have_the_lengths_and_places_of_their_type() {
    let target = GraphTarget { id: 3, stream: "graphBuffer3".into(), executors: 1 };
    let mut golden = vec![0; 84];
    golden[4] = 3;
    golden[8..20].copy_from_slice(b"graphBuffer3");
    golden[80] = 1;
    for (code, command) in [
        (0, GraphCommand::Allocate(target.clone())),
        (1, GraphCommand::Deallocate(target.clone())),
        (3, GraphCommand::Verify(target.clone())),
        (4, GraphCommand::VerifyAllocation(target)),
    ] {
        golden[0] = code;
        same(&command, &golden);
    }
    let mut golden = vec![0; 84];
    [golden[0], golden[4], golden[72], golden[76]] = [2, 3, 6, 7];
    same(&GraphCommand::Trigger { id: 3, input: 6, output: 7 }, &golden);
    for (code, command) in [
        (6, GraphCommand::DeallocateFifo { id: 9 }),
        (7, GraphCommand::Timing { id: 9 }),
        (8, GraphCommand::Debug { id: 9 }),
    ] {
        same(&command, &[code, 0, 0, 0, 9, 0, 0, 0]);
    }
}

#[test]
fn a_fifo_command_is_100_bytes() {
    let fifo = FifoSpec {
        id: 0,
        stream: fifo_stream(0),
        elements: 4,
        desc: TensorDesc { ncwh: [1, 3, 224, 224], total_bytes: 0x0004_9800, strides: [0; 3] },
        host_reads: false,
        host_writes: true,
    };
    let mut golden = vec![0; 100];
    golden[0] = 5;
    golden[8..13].copy_from_slice(b"FIFO0");
    [golden[72], golden[76], golden[80]] = [4, 1, 3];
    [golden[84], golden[88]] = [0xe0, 0xe0];
    [golden[93], golden[94], golden[97]] = [0x98, 0x04, 1];
    same(&GraphCommand::AllocateFifo(fifo), &golden);
}

#[test]
fn requests_and_answers_come_back() {
    for (request, code) in [(DeviceRequest::ThermalStats, 0), (DeviceRequest::WatchdogPing, 4)] {
        assert_eq!(request.encode(LINE).unwrap(), [code, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(DeviceRequest::decode(&request.encode(LINE).unwrap(), LINE), Ok(request));
    }
    let capabilities = DeviceCapabilities {
        max_graphs: 10,
        max_fifos: 20,
        max_memory: 522_059_056,
        option_classes: [0; 2],
        max_executors: 1,
        firmware: [2, 8, 0x2450, 0x16e],
        tensor_library: [2, 8],
    };
    let bytes = capabilities.encode(LINE);
    assert_eq!((bytes.len(), &bytes[8..12]), (40, &522_059_056_u32.to_le_bytes()[..]));
    assert_eq!(DeviceCapabilities::decode(&bytes, LINE), Ok(capabilities));
    assert_eq!(capabilities.chip(), Some(0x2450));
    let stats = ThermalStats { throttling: 2, celsius: [47.5; THERMAL_SAMPLES] };
    assert_eq!(stats.encode()[..8], [0, 0, 0, 64, 0, 0, 62, 66]);
    assert_eq!(ThermalStats::decode(&stats.encode()), Ok(stats));
}

#[test]
fn other_lengths_types_and_names_are_refused() {
    for len in [0, 3, 7, 9, 83, 85, 99, 101] {
        assert!(GraphCommand::decode(&vec![5; len], LINE).is_err());
        assert!(GraphCommand::decode(&vec![0; len], LINE).is_err());
        assert!(DeviceRequest::decode(&vec![0; len], LINE).is_err());
    }
    assert!(matches!(
        GraphCommand::decode(&[9, 0, 0, 0, 0, 0, 0, 0], LINE),
        Err(MessageError::Type { found: 9, .. })
    ));
    let mut endless = vec![0; 84];
    endless[8..72].fill(b'x');
    assert!(matches!(GraphCommand::decode(&endless, LINE), Err(MessageError::Name { .. })));
    assert!(ThermalStats::decode(&[0xff; 104]).is_err());
    assert!(decode_times(&[0; 7]).is_err());
    for code in 1..12 {
        assert_eq!(AllocationStatus::of(code).map(AllocationStatus::code), Some(code));
    }
}

#[test]
fn commands_of_ncsdk_are_76_bytes_as_its_hosts_write_them() {
    let line = Dialect::Ncsdk2;
    let target = GraphTarget { id: 0, stream: "graphBuffer0".into(), executors: 1 };
    let mut golden = vec![0; 76];
    golden[12..24].copy_from_slice(b"graphBuffer0");
    golden[36] = 1;
    same_in(line, &GraphCommand::Allocate(target.clone()), &golden);
    golden[4] = 1;
    same_in(line, &GraphCommand::Deallocate(target.clone()), &golden);
    let fifo = FifoSpec {
        id: 0,
        stream: fifo_stream(0),
        elements: 2,
        desc: TensorDesc { ncwh: [1, 3, 224, 224], total_bytes: 0x0004_9800, strides: [0; 3] },
        host_reads: false,
        host_writes: true,
    };
    let mut golden = vec![0; 76];
    golden[0] = 1;
    golden[8..13].copy_from_slice(b"FIFO0");
    [golden[28], golden[32], golden[36], golden[40], golden[44]] = [2, 1, 3, 0xe0, 0xe0];
    [golden[49], golden[50], golden[65]] = [0x98, 0x04, 1];
    same_in(line, &GraphCommand::AllocateFifo(fifo), &golden);
    let mut golden = vec![0; 76];
    [golden[4], golden[8], golden[28], golden[32]] = [2, 3, 6, 7];
    same_in(line, &GraphCommand::Trigger { id: 3, input: 6, output: 7 }, &golden);
    let mut golden = vec![0; 76];
    [golden[0], golden[4], golden[24]] = [1, 1, 9];
    same_in(line, &GraphCommand::DeallocateFifo { id: 9 }, &golden);
    for (code, command) in [
        (0, GraphCommand::Timing { id: 9 }),
        (1, GraphCommand::Debug { id: 9 }),
        (2, GraphCommand::State { id: 9 }),
    ] {
        let mut golden = vec![0; 76];
        [golden[0], golden[4], golden[8]] = [2, code, 9];
        same_in(line, &command, &golden);
    }
    assert!(GraphCommand::Verify(target.clone()).encode(line).is_err());
    let long = GraphTarget { stream: "graphBuffer12345".into(), ..target };
    assert!(GraphCommand::Allocate(long).encode(line).is_err());
    for class in [3, 9, u32::MAX] {
        let mut other = vec![0; 76];
        other[..4].copy_from_slice(&class.to_le_bytes());
        let error = Err(MessageError::Type { what: "a graph command", found: class });
        assert_eq!(GraphCommand::decode(&other, line), error);
    }
}

#[test]
fn requests_of_ncsdk_have_a_class_and_its_capabilities_two_words_more() {
    let line = Dialect::Ncsdk2;
    let bytes = DeviceRequest::Capabilities.encode(line).unwrap();
    assert_eq!(bytes, [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(DeviceRequest::decode(&bytes, line), Ok(DeviceRequest::Capabilities));
    assert!(DeviceRequest::WatchdogPing.encode(line).is_err());
    // Class 2 is what firmware that is sold does not have.
    assert!(DeviceRequest::decode(&[1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0], line).is_err());
    let capabilities = DeviceCapabilities {
        max_graphs: 10,
        max_fifos: 20,
        max_memory: 522_059_056,
        option_classes: [1, 1],
        max_executors: 1,
        firmware: [2, 8, 0x2450, 0x16e],
        tensor_library: [2, 8],
    };
    let bytes = capabilities.encode(line);
    assert_eq!((bytes.len(), bytes[12], bytes[16], bytes[20], bytes[24]), (48, 1, 1, 1, 2));
    assert_eq!(DeviceCapabilities::decode(&bytes, line), Ok(capabilities));
    assert!(is_fifo_end(&fifo_end(line)) && fifo_end(line).len() == 8);
    assert!(is_fifo_end(&fifo_end(LINE)) && fifo_end(LINE).len() == 4);
    assert!(!is_fifo_end(&[0; 8]) && !is_fifo_end(&[]));
}
