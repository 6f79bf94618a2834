//! The safetensors header on sound files, and on hostile ones: each error names file, field, found and expected.

use std::collections::HashMap;

use plimsoll_formats::{blocks, safetensors::parse};
use safetensors::tensor::{Dtype, TensorView};

/// A file of this header and as many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + data, 0);
    file
}

#[test]
fn files_of_the_reference_crate() {
    let data = [vec![1; 12], vec![2; 8], vec![3; 4], vec![]];
    let views = [
        ("f32", TensorView::new(Dtype::F32, vec![3], &data[0]).unwrap()),
        ("f16", TensorView::new(Dtype::F16, vec![2, 2], &data[1]).unwrap()),
        ("bf16", TensorView::new(Dtype::BF16, vec![1, 2, 1], &data[2]).unwrap()),
        ("none", TensorView::new(Dtype::F32, vec![4, 0], &data[3]).unwrap()),
    ];
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let file = safetensors::serialize(views, Some(metadata)).unwrap();
    let tensors = parse("x", &file).unwrap();
    for (name, block, shape, data) in [
        ("f32", &blocks::F32, &[3][..], &data[0]),
        ("f16", &blocks::F16, &[2, 2], &data[1]),
        ("bf16", &blocks::BF16, &[1, 2, 1], &data[2]),
        ("none", &blocks::F32, &[4, 0], &data[3]),
    ] {
        let tensor = tensors.iter().find(|tensor| tensor.name == name).unwrap();
        assert_eq!((tensor.block, &tensor.shape[..]), (block, shape), "{name}");
        assert_eq!(&file[tensor.range.clone()], &data[..], "{name}");
    }
    for len in 0..file.len() {
        let message = parse("x", &file[..len]).unwrap_err().to_string();
        assert!(message.starts_with("x: ") && message.contains("found") && message.contains("expected"), "{message}");
    }
}

#[test]
fn hostile_headers() {
    let scalar = |offsets: &str| format!(r#"{{"t": {{"dtype": "F32", "shape": [], "data_offsets": {offsets}}}}}"#);
    let shaped = |dtype: &str, shape: &str| {
        file(&format!(r#"{{"t": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": [0, 4]}}}}"#), 4)
    };
    let two = |a: &str, b: &str| {
        let entry = |offsets| format!(r#"{{"dtype": "F32", "shape": [], "data_offsets": {offsets}}}"#);
        file(&format!(r#"{{"a": {}, "b": {}}}"#, entry(a), entry(b)), 8)
    };
    // Sizes whose sum wraps to 0 in 64 bits.
    let wrap = |name: u64| {
        let (from, to) = (name << 61, (name + 1) << 61);
        format!(r#""{name}": {{"dtype": "F32", "shape": [{}], "data_offsets": [{from}, {to}]}}"#, 1u64 << 59)
    };
    let wrapping = format!("{{{}}}", (0..7).map(wrap).collect::<Vec<_>>().join(","));
    let deep = "[".repeat(100_000);
    let cases = [
        (vec![1, 2, 3], "header length: found 3 bytes, expected at least 8"),
        (u64::MAX.to_le_bytes().to_vec(), "header length: found 18446744073709551615, expected at most 0 "),
        (vec![0; 8], "header: found EOF while parsing a value"),
        (file("[]", 0), "header: found invalid type: sequence, expected an object"),
        (file("{}x", 0), "header: found trailing characters"),
        (file("{\"\u{0}", 0), "header: found control character"),
        (file(&deep, 0), "header: found invalid type: sequence"),
        (file(&format!("{{\"__metadata__\": {deep}"), 0), "header: found EOF while parsing a list"),
        (file(r#"{"t": 1}"#, 0), "header: found at `t`: invalid type: integer `1`"),
        (file(r#"{"t": {"dtype": "F32", "shape": []}}"#, 0), "header: found at `t`: missing field `data_offsets`"),
        (
            file(r#"{"t": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}"#, 4),
            "header: found at `t`: invalid value",
        ),
        (file("{}", 4), "data: found 4 bytes, expected the 0 of all tensors"),
        (shaped("I64", "[]"), "tensor `t`: dtype: I64 is not supported, expected F32, F16 or BF16"),
        (shaped("F8_E4M3", "[4]"), "tensor `t`: dtype: F8_E4M3 is not supported"),
        (shaped("F32", "[2]"), "tensor `t`: data_offsets: found [0, 4], expected [0, 0 + 8] within 4 bytes of data"),
        (
            shaped("F32", "[4611686018427387904]"),
            "tensor `t`: shape: found [4611686018427387904], expected a size that",
        ),
        (
            shaped("F32", "[4294967296, 4294967296]"),
            "tensor `t`: shape: found [4294967296, 4294967296], expected a size",
        ),
        (file(&scalar("[4, 0]"), 4), "tensor `t`: data_offsets: found [4, 0], expected [0, 0 + 4]"),
        (file(&scalar("[0, 4]"), 0), "tensor `t`: data_offsets: found [0, 4], expected [0, 0 + 4] within 0 bytes"),
        (file(&scalar("[4, 8]"), 8), "tensor `t`: data_offsets: found [4, 8], expected [0, 0 + 4]"),
        (file(&scalar("[18446744073709551615, 3]"), 4), "tensor `t`: data_offsets: found [18446744073709551615, 3]"),
        (two("[0, 4]", "[0, 4]"), "tensor `b`: data_offsets: found [0, 4], expected [4, 4 + 4]"),
        (two("[0, 4]", "[2, 6]"), "tensor `b`: data_offsets: found [2, 6], expected [4, 4 + 4]"),
        (file(&wrapping, 8), "tensor `0`: data_offsets: found [0, 2305843009213693952], expected"),
        (file(r#"{"__metadata__": {}, "__metadata__": {}}"#, 0), "header: found `__metadata__` twice"),
        (
            file(&format!("{{{0}, {0}}}", r#""t": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}"#), 4),
            "header: found `t` twice",
        ),
    ];
    for (file, expected) in cases {
        let message = parse("x", &file).unwrap_err().to_string();
        assert!(message.starts_with("x: ") && message.contains(expected), "expected `{expected}` in `{message}`");
    }
}
