//! Safetensors: an index, a NUL byte, and a shard; both are refused, or agree with themselves and each other.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_formats::safetensors::{Index, parse};

fuzz_target!(|input: &[u8]| {
    let (json, file) = input.iter().position(|&byte| byte == 0).map_or((input, &[][..]), |at| input.split_at(at));
    let file = file.get(1..).unwrap_or_default();
    let tensors = parse("fuzz.safetensors", file).unwrap_or_default();
    for tensor in &tensors {
        assert_eq!(tensor.block.tensor_bytes(&tensor.shape).ok(), file.get(tensor.range.clone()).map(<[u8]>::len));
    }
    if let Ok(index) = Index::parse(json) {
        assert!(index.shards().iter().all(|shard| !shard.contains(['/', '\\'])));
        let _ = index.check(&[("fuzz.safetensors", &tensors)]);
    }
});
