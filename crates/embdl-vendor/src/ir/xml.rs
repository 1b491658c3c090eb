//! Layers and edges as XML, constants as bytes.

use core::fmt::{Display, Write as _};

use half::f16;

/// Where a value comes out of a layer.
#[derive(Clone)]
pub(super) struct Port {
    layer: usize,
    port: usize,
    pub(super) dims: Vec<usize>,
}

/// The network so far.
#[derive(Default)]
pub(super) struct Ir {
    layers: String,
    edges: String,
    bin: Vec<u8>,
    count: usize,
}

impl Ir {
    pub(super) fn parameter(&mut self, name: &str, dims: Vec<usize>) -> Port {
        let data = [("shape", list(&dims)), ("element_type", "f16".into())];
        self.layer(name, "Parameter", &data, &[], dims)
    }

    pub(super) fn result(&mut self, name: &str, of: &Port) {
        self.open(&format!("{name}/result"), "Result", &[]);
        self.inputs(core::slice::from_ref(of));
        self.close();
    }

    pub(super) fn floats(&mut self, name: &str, dims: Vec<usize>, values: &[f16]) -> Port {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, dims, &bytes, ["f16", "FP16"])
    }

    /// A vector of integers, such as a shape.
    pub(super) fn integers(&mut self, name: &str, values: &[i64]) -> Port {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, vec![values.len()], &bytes, ["i64", "I64"])
    }

    fn constant(
        &mut self,
        name: &str,
        dims: Vec<usize>,
        bytes: &[u8],
        [element, precision]: [&'static str; 2],
    ) -> Port {
        // Elements are read in place, so that they start at whole multiples of their length.
        self.bin.resize(self.bin.len().next_multiple_of(8), 0);
        let offset = self.bin.len().to_string();
        self.bin.extend(bytes);
        let data = [
            ("element_type", element.to_owned()),
            ("shape", list(&dims)),
            ("offset", offset),
            ("size", bytes.len().to_string()),
        ];
        self.open(name, "Const", &data);
        let port = self.output(0, dims, precision);
        self.close();
        port
    }

    pub(super) fn layer(
        &mut self,
        name: &str,
        kind: &str,
        data: &[(&str, String)],
        inputs: &[Port],
        dims: Vec<usize>,
    ) -> Port {
        self.open(name, kind, data);
        self.inputs(inputs);
        let port = self.output(inputs.len(), dims, "FP16");
        self.close();
        port
    }

    fn open(&mut self, name: &str, kind: &str, data: &[(&str, String)]) {
        let (id, name) = (self.count, escaped(name));
        self.write(format_args!(
            "\t\t<layer id=\"{id}\" name=\"{name}\" type=\"{kind}\" version=\"opset1\">\n"
        ));
        if !data.is_empty() {
            let list: String =
                data.iter().map(|(key, value)| format!(" {key}=\"{value}\"")).collect();
            self.write(format_args!("\t\t\t<data{list}/>\n"));
        }
    }

    fn inputs(&mut self, inputs: &[Port]) {
        if inputs.is_empty() {
            return;
        }
        self.layers.push_str("\t\t\t<input>\n");
        for (port, from) in inputs.iter().enumerate() {
            self.port(port, &from.dims, None);
            let edge = format!(
                "\t\t<edge from-layer=\"{}\" from-port=\"{}\" to-layer=\"{}\" to-port=\"{port}\"/>\n",
                from.layer, from.port, self.count
            );
            self.edges.push_str(&edge);
        }
        self.layers.push_str("\t\t\t</input>\n");
    }

    fn output(&mut self, port: usize, dims: Vec<usize>, precision: &'static str) -> Port {
        self.layers.push_str("\t\t\t<output>\n");
        self.port(port, &dims, Some(precision));
        self.layers.push_str("\t\t\t</output>\n");
        Port { layer: self.count, port, dims }
    }

    fn port(&mut self, id: usize, dims: &[usize], precision: Option<&str>) {
        let precision = precision.map(|name| format!(" precision=\"{name}\"")).unwrap_or_default();
        self.write(format_args!("\t\t\t\t<port id=\"{id}\"{precision}>\n"));
        for dim in dims {
            self.write(format_args!("\t\t\t\t\t<dim>{dim}</dim>\n"));
        }
        self.layers.push_str("\t\t\t\t</port>\n");
    }

    fn close(&mut self) {
        self.layers.push_str("\t\t</layer>\n");
        self.count += 1;
    }

    fn write(&mut self, text: core::fmt::Arguments<'_>) {
        self.layers.write_fmt(text).expect("strings take everything");
    }

    pub(super) fn finish(self, name: &str) -> (String, Vec<u8>) {
        let Self { layers, edges, bin, .. } = self;
        let name = escaped(name);
        let xml = format!(
            "<?xml version=\"1.0\"?>\n<net name=\"{name}\" version=\"10\">\n\t<layers>\n{layers}\t</layers>\n\t<edges>\n{edges}\t</edges>\n</net>\n"
        );
        (xml, bin)
    }
}

/// Numbers with commas between them.
pub(super) fn list<T: Display>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(",")
}

/// Names may have any characters, of which XML 1.0 has no control characters at all.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&apos;"),
            other if other.is_control() => text.push('_'),
            other => text.push(other),
        }
    }
    text
}
