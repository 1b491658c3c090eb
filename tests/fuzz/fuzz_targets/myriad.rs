//! The decoders of the Myriad's host bridge: blobs, headers, messages, and streams that somebody else writes. An error or a value
//! that encodes to the same bytes; a blob whose tensors lie within their memories.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rt_myriad::blob;
use rt_myriad::emulator::{Arithmetic, Program};
use rt_myriad::protocol::messages::{
    DeviceCapabilities, DeviceRequest, GraphCommand, TensorDesc, ThermalStats, decode_times,
};
use rt_myriad::protocol::{Dialect, Header, Streams};

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else { return };
    match choice % 4 {
        0 => read_blob(rest),
        1 => read_messages(rest),
        2 => read_ncsdk(rest),
        _ => read_stream(rest),
    }
});

fn read_blob(bytes: &[u8]) {
    // The length in the header is made right, or nothing would get past it.
    let mut file = bytes.to_vec();
    if file.len() >= 132 {
        let len = u32::try_from(file.len()).expect("inputs are small");
        file[52..56].copy_from_slice(&blob::MAGIC.to_le_bytes());
        file[56..60].copy_from_slice(&len.to_le_bytes());
        file[60..64].copy_from_slice(&blob::VERSION[0].to_le_bytes());
        file[64..68].copy_from_slice(&blob::VERSION[1].to_le_bytes());
    }
    let Ok(blob) = blob::read(&file) else { return };
    let _ = blob::Description(&blob).to_string();
    let again = blob::write(&blob).expect("it was read");
    assert_eq!(blob::read(&again).expect("it was written").stages, blob.stages);
    if blob.bss_bytes > 1 << 16 || blob.inputs_bytes > 1 << 16 || blob.outputs_bytes > 1 << 16 {
        return;
    }
    let zeros = vec![0; blob.inputs_bytes as usize];
    if let Ok(mut program) = Program::new(blob, Arithmetic::Sums32) {
        program.run(&zeros).expect("it was checked");
    }
}

fn read_messages(bytes: &[u8]) {
    for dialect in [Dialect::OpenVino2020, Dialect::Ncsdk2] {
        if let Ok(command) = GraphCommand::decode(bytes, dialect) {
            let again = command.encode(dialect).expect("it was read");
            assert_eq!(GraphCommand::decode(&again, dialect), Ok(command));
        }
        if let Ok(request) = DeviceRequest::decode(bytes, dialect) {
            let again = request.encode(dialect).expect("it was read");
            assert_eq!(DeviceRequest::decode(&again, dialect), Ok(request));
        }
        if let Ok(capabilities) = DeviceCapabilities::decode(bytes, dialect) {
            assert_eq!(capabilities.encode(dialect), bytes);
        }
        if let Ok(desc) = TensorDesc::decode(bytes, dialect) {
            assert_eq!(desc.encode(dialect), bytes);
        }
    }
    let _ = ThermalStats::decode(bytes);
    let _ = decode_times(bytes);
}

/// A compiled graph of NCSDK, with its length made right.
fn read_ncsdk(bytes: &[u8]) {
    let mut file = bytes.to_vec();
    if file.len() >= 80 {
        let len = u32::try_from(file.len()).expect("inputs are small");
        for (at, word) in [(34, 8708), (38, len), (42, 2), (46, 3)] {
            file[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
    }
    let Ok(graph) = blob::NcsdkGraph::read(&file) else { return };
    let _ = graph.to_string();
    let Ok(blob) = graph.lower() else { return };
    if blob.bss_bytes > 1 << 16 || blob.inputs_bytes > 1 << 16 || blob.outputs_bytes > 1 << 16 {
        return;
    }
    let zeros = vec![0; blob.inputs_bytes as usize];
    if let Ok(mut program) = Program::new(blob, Arithmetic::Sums32) {
        program.run(&zeros).expect("it was checked");
    }
}

/// Headers with the packets that follow them, as the other end of a link would send them.
fn read_stream(mut bytes: &[u8]) {
    let dialect = Dialect::Ncsdk2;
    let mut streams = Streams::new(dialect, 1 << 12);
    while bytes.len() >= dialect.header_len() {
        let (head, rest) = bytes.split_at(dialect.header_len());
        let Ok(header) = Header::decode(head, dialect) else { return };
        assert_eq!(Header::decode(&header.encode(dialect), dialect).as_ref(), Ok(&header));
        let Ok(len) = streams.payload_len(&header) else { return };
        let Some((packet, rest)) = rest.split_at_checked(len) else { return };
        bytes = rest;
        if streams.receive(&header, packet.to_vec()).is_err() {
            return;
        }
        let _ = streams.take(header.stream);
    }
}
