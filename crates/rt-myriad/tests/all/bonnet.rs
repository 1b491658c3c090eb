//! The client of the AIY Vision Bonnet against one in software, over TCP, and its messages against bytes made by hand.

use core::time::Duration;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use rt_myriad::bonnet::{
    Bonnet, BonnetError, ByteTensor, EmulatedBonnet, FirmwareInfo, Model, Request, Response, Tcp,
    TensorShape,
};

const WAIT: Duration = Duration::from_secs(5);

fn emulated(major: i32, minor: i32) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let bonnet = EmulatedBonnet::new(FirmwareInfo { major, minor });
    thread::spawn(move || bonnet.serve(&listener));
    address
}

fn open(address: &str) -> Result<Bonnet, BonnetError> {
    Bonnet::open(Box::new(Tcp::connect(address, WAIT)?))
}

fn shape(height: i32, width: i32, depth: i32) -> TensorShape {
    TensorShape { batch: 1, height, width, depth }
}

fn model(name: &str) -> Model {
    Model {
        name: name.into(),
        input: shape(160, 160, 3),
        mean: 128.0,
        stddev: 128.0,
        graph: vec![0x0a; 100_000],
    }
}

#[test]
fn messages_have_the_fields_of_their_definition() {
    assert_eq!(Request::FirmwareInfo.encode(), [0x4a, 0]);
    assert_eq!(Request::Reset.encode(), [0x62, 0]);
    let unload = Request::UnloadModel("ab".into());
    assert_eq!(unload.encode(), [0x12, 4, 0x0a, 2, b'a', b'b']);
    let tensor = ByteTensor { shape: shape(2, 1, 1), data: vec![7, 9] };
    let infer = Request::ImageInference { model: "m".into(), tensor };
    let golden = [
        0x1a, 19, // image_inference
        0x0a, 1, b'm', // model_name
        0x12, 14, // tensor
        0x0a, 8, 0x08, 1, 0x10, 2, 0x18, 1, 0x20, 1, // shape
        0x12, 2, 7, 9, // data
    ];
    assert_eq!(infer.encode(), golden);
    let small = Model { graph: vec![5], name: "m".into(), input: shape(1, 1, 1), ..model("m") };
    let golden = [
        0x0a, 28, // load_model
        0x0a, 1, b'm', // model_name
        0x12, 8, 0x08, 1, 0x10, 1, 0x18, 1, 0x20, 1, // input_shape
        0x1a, 10, 0x0d, 0, 0, 0, 0x43, 0x15, 0, 0, 0, 0x43, // input_normalizer: 128, 128
        0x22, 1, 5, // compute_graph
    ];
    assert_eq!(Request::LoadModel(small.clone()).encode(), golden);
    for request in [Request::FirmwareInfo, unload, infer, Request::LoadModel(small)] {
        assert_eq!(Request::decode(&request.encode()), Ok(Some(request)));
    }
    // status { code: ERROR, message: "no" }, then a field that nobody knows.
    let response = Response::decode(&[0x0a, 6, 0x08, 1, 0x12, 2, b'n', b'o', 0x7a, 1, 0]).unwrap();
    assert_eq!(response.error.as_deref(), Some("no"));
    // inference_result with one tensor, whose numbers are packed.
    let response = Response::decode(&[
        0x12, 23, 0x0a, 1, b'm', 0x28, 0xac, 2, // model_name, duration_ms 300
        0x32, 15, 0x0a, 1, b't', 0x12, 10, 0x12, 8, 0, 0, 0x80, 0x3f, 0, 0, 0,
        0xc0, // tensors
    ])
    .unwrap();
    let inference = response.inference.unwrap();
    assert_eq!((&*inference.model, inference.duration_ms), ("m", 300));
    assert_eq!(inference.tensors["t"].data, [1.0, -2.0]);
    for len in 1..golden.len() {
        assert!(Request::decode(&golden[..len]).is_err(), "{len}");
    }
    for at in 0..golden.len() {
        let mut broken = golden;
        broken[at] ^= 0xff;
        let _ = Request::decode(&broken);
        let _ = Response::decode(&broken);
    }
}

#[test]
fn models_are_loaded_run_and_taken_away() {
    let mut bonnet = open(&emulated(1, 2)).unwrap();
    assert_eq!(bonnet.firmware().unwrap(), FirmwareInfo { major: 1, minor: 2 });
    assert!(bonnet.system().unwrap().celsius > 0.0);
    let picture = |planes: usize| {
        let data = (0..planes).flat_map(|plane| [64 * u8::try_from(plane).unwrap(); 6]).collect();
        ByteTensor { shape: shape(2, 3, i32::try_from(planes).unwrap()), data }
    };
    let missing = bonnet.infer("mobilenet", picture(3)).unwrap_err();
    assert!(missing.to_string().contains("no model is called \"mobilenet\""), "{missing}");
    bonnet.load(model("mobilenet")).unwrap();
    bonnet.load(model("squeezenet")).unwrap();
    assert_eq!(bonnet.models().unwrap().loaded, ["mobilenet", "squeezenet"]);
    let result = bonnet.infer("mobilenet", picture(3)).unwrap();
    assert_eq!(result.tensors["means"].data, [-1.0, -0.5, 0.0]);
    assert_eq!((result.size, &*result.model), ([3, 2], "mobilenet"));
    let odd = ByteTensor { data: vec![0; 5], ..picture(1) };
    assert!(matches!(bonnet.infer("mobilenet", odd), Err(BonnetError::Refused { .. })));
    let nothing = Model { graph: Vec::new(), ..model("empty") };
    assert!(matches!(bonnet.load(nothing), Err(BonnetError::Refused { .. })));
    let large = Model { graph: vec![0; 13 << 20], ..model("large") };
    assert!(matches!(bonnet.load(large), Err(BonnetError::TooLarge { .. })));
    bonnet.unload("mobilenet").unwrap();
    assert!(bonnet.unload("mobilenet").is_err());
    bonnet.reset().unwrap();
    assert!(bonnet.models().unwrap().loaded.is_empty());
}

#[test]
fn other_firmware_is_refused_and_a_newer_one_of_the_same_messages_is_not() {
    let error = open(&emulated(2, 0)).unwrap_err();
    assert!(matches!(error, BonnetError::Firmware { found: [2, 0] }), "{error}");
    open(&emulated(1, 3)).unwrap();
}

/// A peer that reads a request and answers with these bytes, whatever it was.
fn peer(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
        let mut request = [0; 6];
        stream.read_exact(&mut request).unwrap();
        // The other end may have gone by then.
        let _ = stream.write_all(&answer);
    });
    address
}

#[test]
fn hostile_peers_cost_no_memory_and_no_time() {
    for answer in [vec![], vec![0, 0, 0], vec![0, 0, 0, 9, 1], vec![0, 0, 0, 2, 0x0a, 9]] {
        assert!(open(&peer(answer)).is_err());
    }
    let error = open(&peer(vec![0xff, 0xff, 0xff, 0xff])).unwrap_err();
    assert!(matches!(error, BonnetError::TooLarge { .. }), "{error}");
    // A version is missing: fields that are not there are no version 0.0.
    let error = open(&peer(vec![0, 0, 0, 2, 0x0a, 0])).unwrap_err();
    assert!(matches!(error, BonnetError::Incomplete { .. }), "{error}");
    assert!(Tcp::connect("127.0.0.1:1", Duration::from_millis(200)).is_err());
}
