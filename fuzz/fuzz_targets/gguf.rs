//! GGUF: a file is refused, or its tensors are inside it and decode.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_formats::gguf;

fuzz_target!(|file: &[u8]| {
    let Ok(header) = gguf::parse("fuzz.gguf", file) else { return };
    for (key, _) in header.metadata.iter() {
        let _ = (header.metadata.int(key), header.metadata.ints(key), header.metadata.floats(key), header.metadata.text(key));
    }
    for tensor in &header.tensors {
        let data = &file[header.range(tensor)];
        let values = data.len() / tensor.block.bytes * tensor.block.values;
        tensor.block.decode(data, &mut vec![0.0; values]).expect("whole blocks");
    }
});
