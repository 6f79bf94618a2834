//! Readers on random bytes and on damaged files: any answer will do, a panic will not.

use plimsoll_formats::blocks;
use plimsoll_formats::gguf::{self, Writer};
use plimsoll_formats::safetensors::{self, Index};
use proptest::collection::vec;
use proptest::prelude::*;

/// A file is refused, or what its header says is true of its bytes.
fn check_gguf(file: &[u8]) {
    let Ok(header) = gguf::parse("x", file) else { return };
    for tensor in &header.tensors {
        assert_eq!(file[header.range(tensor)].len() as u64, tensor.bytes);
    }
}

fn gguf_file() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.set("general.alignment", 16u32);
    writer.set("tokenizer.ggml.tokens", vec![b"a".to_vec(), b"b".to_vec()]);
    writer.set("tokenizer.ggml.eos_token_id", 1u32);
    writer.set("f", vec![true, false]);
    writer.tensor("a", &blocks::Q4_0, &[2, 32], vec![1; 36]).unwrap();
    writer.tensor("b", &blocks::F32, &[2], vec![1; 8]).unwrap();
    let mut file = Vec::new();
    writer.write(&mut file).unwrap();
    file
}

fn safetensors_file() -> Vec<u8> {
    let header = r#"{"__metadata__": {"format": "pt"}, "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
        "b": {"dtype": "BF16", "shape": [3], "data_offsets": [8, 14]}}"#;
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 14]].concat()
}

/// A file with some bytes overwritten, and cut or extended.
fn damaged(file: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let len = file.len();
    let bytes = vec((0..len, prop_oneof![Just(0), Just(0xFF), any::<u8>()]), 0..4);
    (bytes, prop_oneof![4 => Just(len), 1 => 0..len + 40]).prop_map(move |(bytes, len)| {
        let mut file = file.clone();
        bytes.into_iter().for_each(|(at, byte)| file[at] = byte);
        file.resize(len, 0);
        file
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn random_bytes(bytes in vec(any::<u8>(), 0..200)) {
        let file = [b"GGUF\x03\0\0\0", &bytes[..]].concat();
        check_gguf(&file);
        let file = [&(bytes.len() as u64 / 2).to_le_bytes()[..], &bytes].concat();
        let _ = safetensors::parse("x", &file);
        let _ = Index::parse(&bytes);
    }

    #[test]
    fn damaged_gguf(file in damaged(gguf_file())) {
        check_gguf(&file);
    }

    #[test]
    fn damaged_safetensors(file in damaged(safetensors_file())) {
        for tensor in safetensors::parse("x", &file).unwrap_or_default() {
            prop_assert_eq!(tensor.block.tensor_bytes(&tensor.shape).unwrap(), file[tensor.range].len());
        }
    }
}

#[test]
fn the_files_to_damage_are_sound() {
    gguf::parse("x", &gguf_file()).unwrap();
    assert_eq!(safetensors::parse("x", &safetensors_file()).unwrap().len(), 2);
}
