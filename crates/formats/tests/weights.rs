//! Checkpoints of one file and of several, in both containers, sound and lying.

use std::io::Write;

use plimsoll_formats::gguf::Writer;
use plimsoll_formats::{Container, NamedFile, Weights, blocks};
use safetensors::tensor::{Dtype, TensorView};

const INDEX: &str = "model.safetensors.index.json";

/// An unnamed file of these bytes, under a name.
fn named(name: &str, bytes: &[u8]) -> NamedFile {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    NamedFile { name: name.to_owned(), file }
}

fn open(files: Files<'_>) -> Result<Weights, String> {
    Weights::open(files.iter().map(|(name, bytes)| named(name, bytes)).collect()).map_err(|error| error.to_string())
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A safetensors file of F32 vectors.
fn shard(tensors: &[(&str, &[f32])]) -> Vec<u8> {
    let data: Vec<_> = tensors.iter().map(|(name, values)| (*name, values.len(), floats(values))).collect();
    let view = |data| TensorView::new(Dtype::F32, vec![1, 2], data).unwrap();
    safetensors::serialize(data.iter().map(|(name, _, data)| (*name, view(data))), None).unwrap()
}

/// One shard of a split GGUF, with a vector for each name.
fn split(number: u16, count: u16, total: i32, names: &[&str]) -> Vec<u8> {
    let mut writer = Writer::new();
    if number == 0 {
        writer.set("general.architecture", "llama");
    }
    writer.set("split.no", number);
    writer.set("split.count", count);
    writer.set("split.tensors.count", total);
    for name in names {
        writer.tensor(name, &blocks::F32, &[1, 2], floats(&[f32::from(number), 1.0])).unwrap();
    }
    let mut file = Vec::new();
    writer.write(&mut file).unwrap();
    file
}

/// Names and contents.
type Files<'a> = &'a [(&'a str, Vec<u8>)];

/// Opening these files gives a message that contains the text.
fn refused(cases: &[(Files<'_>, &str)]) {
    for (files, expected) in cases {
        let message = open(files).err().unwrap_or_default();
        assert!(message.contains(expected), "expected `{expected}` in `{message}`");
    }
}

#[test]
fn the_files_must_make_one_checkpoint() {
    let gguf = || ("m.gguf", split(0, 0, 1, &["a"]));
    let tensors = |name| (name, shard(&[("a", &[1.0, 2.0])]));
    refused(&[
        (&[], "checkpoint: found no weights, expected *.gguf or *.safetensors files"),
        (&[("config.json", b"{}".to_vec())], "found no weights"),
        (&[gguf(), tensors("model.safetensors")], "found both *.gguf and *.safetensors files, expected one of the two"),
        (&[gguf(), ("n.gguf", split(0, 0, 1, &["a"]))], "found 2 GGUF files, of which `m.gguf` is no shard"),
        (
            &[tensors("a.safetensors"), tensors("b.safetensors")],
            "found 2 *.safetensors files and no index, expected model.",
        ),
        (&[gguf(), gguf()], "found `m.gguf` twice, expected unique names"),
        (&[("m.gguf", vec![])], "m.gguf: magic: found 0 bytes up to the end of the file"),
        (&[("m.safetensors", vec![])], "m.safetensors: header length: found 0 bytes, expected at least 8"),
    ]);
}

#[test]
fn a_safetensors_file_with_its_assets() {
    let files = [("model.safetensors", shard(&[("a", &[1.0, -2.0])])), ("config.json", b"{}".to_vec())];
    let weights = open(&files).unwrap();
    assert_eq!((weights.container(), weights.metadata().is_none()), (Container::Safetensors, true));
    assert_eq!((weights.asset("config.json"), weights.asset("model.safetensors")), (Some(&b"{}"[..]), None));
    let tensor = weights.get("a").unwrap();
    assert_eq!(
        (tensor.block, &tensor.shape[..], tensor.to_f32().unwrap()),
        (&blocks::F32, &[1, 2][..], vec![1.0, -2.0])
    );
    assert!(weights.get("b").is_none());
}

#[test]
fn assets_are_small() {
    let large = tempfile::tempfile().unwrap();
    large.set_len((64 << 20) + 1).unwrap();
    let files =
        vec![named("m.gguf", &split(0, 0, 1, &["a"])), NamedFile { name: "tokenizer.json".into(), file: large }];
    let message = Weights::open(files).unwrap_err().to_string();
    assert_eq!(
        message,
        "tokenizer.json: size in bytes: found more, expected at most 67108864 for a file without weights"
    );
}

#[test]
fn a_tensor_without_values_may_have_any_other_dimension() {
    let header = r#"{"t": {"dtype": "F32", "shape": [9223372036854775808, 4, 0], "data_offsets": [0, 0]}}"#;
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    let weights = open(&[("model.safetensors", file)]).unwrap();
    let tensor = weights.get("t").unwrap();
    assert_eq!((tensor.len(), tensor.to_f32().unwrap()), (0, vec![]));
    assert!(tensor.rows(0..usize::MAX).is_err());
}

#[test]
fn rows_are_slices() {
    let mut writer = Writer::new();
    let values: Vec<f32> = (0..3 * 64).map(|i| i as f32).collect();
    let mut data = vec![0; blocks::F16.tensor_bytes(&[3, 64]).unwrap()];
    blocks::F16.encode(&values, &mut data).unwrap();
    writer.tensor("m", &blocks::F16, &[3, 64], data).unwrap();
    writer.tensor("q", &blocks::Q8_0, &[32], vec![0; 34]).unwrap();
    let mut file = Vec::new();
    writer.write(&mut file).unwrap();
    let weights = open(&[("m.gguf", file)]).unwrap();
    let matrix = weights.get("m").unwrap();
    let row = matrix.rows(1..2).unwrap();
    assert_eq!((&row.shape[..], row.to_f32().unwrap()), (&[1, 64][..], values[64..128].to_vec()));
    assert!(matrix.rows(3..3).unwrap().is_empty());
    let owned = plimsoll_formats::TensorView { data: matrix.data.to_vec().into(), ..matrix.clone() };
    assert_eq!(owned.rows(1..2).unwrap(), row);
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = 2..1;
    for (range, message) in [
        (2..4, "rows 2..4 of tensor `m`: found 4, expected a range within 3"),
        (0..usize::MAX, "expected a range within 3"),
        (reversed, "rows 2..1 of tensor `m`"),
    ] {
        assert!(matrix.rows(range).unwrap_err().to_string().contains(message), "{message}");
    }
    let quantized = weights.get("q").unwrap().rows(0..1).unwrap_err().to_string();
    assert!(quantized.contains("rows 0..1 of tensor `q`: found 1, expected at least 2 dimensions"), "{quantized}");
}

#[test]
fn splits_come_in_any_order() {
    let files = [
        ("m-00003-of-00003.gguf", split(2, 3, 3, &["c"])),
        ("m-00001-of-00003.gguf", split(0, 3, 3, &[])),
        ("m-00002-of-00003.gguf", split(1, 3, 3, &["b", "a"])),
    ];
    let weights = open(&files).unwrap();
    assert_eq!(weights.names().collect::<Vec<_>>(), ["b", "a", "c"]);
    assert_eq!(weights.get("c").unwrap().to_f32().unwrap(), [2.0, 1.0]);
    assert_eq!(weights.metadata().unwrap().text("general.architecture").unwrap(), Some("llama"));
    for merged in [0, 1] {
        assert!(open(&[("any name.gguf", split(0, merged, 1, &["a"]))]).is_ok(), "{merged}");
    }
}

#[test]
fn hostile_splits() {
    let (first, second) = ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf");
    let a = |count, total| (first, split(0, count, total, &["a"]));
    let b = |name, number, tensor| (name, split(number, 2, 2, &[tensor]));
    let mut negative = Writer::new();
    negative.set("split.no", -1i16);
    let mut lie = Vec::new();
    negative.write(&mut lie).unwrap();
    refused(&[
        (&[a(2, 2)], "checkpoint: found 1 GGUF files, expected the 2 shards that `m-00001-of-00002.gguf` announces"),
        (&[a(3, 2), b(second, 1, "b")], "expected the 3 shards that `m-00001-of-00002.gguf` announces"),
        (&[a(2, 2), b(second, 0, "b")], "key `split.no`: found 0, expected 1, each number once"),
        (&[a(2, 2), b(second, 5, "b")], "m-00002-of-00002.gguf: key `split.no`: found 5, expected 1"),
        (
            &[a(2, 2), b("n-00002-of-00002.gguf", 1, "b")],
            "file name: found `n-00002-of-00002.gguf`, expected `m-00002-of-",
        ),
        (&[a(2, 2), b("m-2-of-2.gguf", 1, "b")], "file name: found `m-2-of-2.gguf`, expected `m-00002-of-00002.gguf`"),
        (&[a(2, 2), b(second, 1, "a")], "m-00002-of-00002.gguf: tensor `a`: found it in `m-00001-of-00002.gguf` too"),
        (&[a(2, 7), b(second, 1, "b")], "m-00001-of-00002.gguf: key `split.tensors.count`: found 7, expected 2"),
        (&[("m.gguf", lie)], "m.gguf: key `split.no`: found -1, expected 0 or more"),
    ]);
}

#[test]
fn shards_and_their_index() {
    let index =
        |map: &str| (INDEX, format!(r#"{{"metadata": {{"total_size": 16}}, "weight_map": {map}}}"#).into_bytes());
    let a = || ("1.safetensors", shard(&[("a", &[1.0, 2.0])]));
    let b = || ("2.safetensors", shard(&[("b", &[3.0, 4.0])]));
    let good = r#"{"a": "1.safetensors", "b": "2.safetensors"}"#;
    let weights = open(&[b(), ("extra.safetensors", vec![]), a(), index(good)]).unwrap();
    assert_eq!(weights.get("b").unwrap().to_f32().unwrap(), [3.0, 4.0]);

    let entry = |file: &str| index(&format!(r#"{{"a": "{file}"}}"#));
    assert!(open(&[a(), entry("1.safetensors")]).is_ok());
    refused(&[
        (&[a(), index(good)], "checkpoint: found no file `2.safetensors`, expected every shard that"),
        (
            &[a(), b(), index(r#"{"a": "2.safetensors", "b": "1.safetensors"}"#)],
            "weight_map of tensor `a`: found `2.safe",
        ),
        (
            &[a(), b(), index(r#"{"a": "1.safetensors", "b": "2.safetensors", "c": "2.safetensors"}"#)],
            "2.safetensors: tensor `c`: found no such tensor, expected it here, as model.safetensors.index.json says",
        ),
        (
            &[a(), ("2.safetensors", shard(&[("a", &[1.0, 2.0]), ("b", &[1.0, 2.0])])), index(good)],
            "index.json: weight_map of tensor `a`: found `1.safetensors`, expected `2.safetensors`, which holds it",
        ),
        (
            &[("1.safetensors", shard(&[("a", &[1.0, 2.0]), ("x", &[1.0, 2.0])])), b(), index(good)],
            "weight_map of tensor `x`: found `nothing`, expected `1.safetensors`, which holds it",
        ),
        (&[a(), entry("../1.safetensors")], "weight_map of tensor `a`: found `../1.safetensors`, expected a plain"),
        (&[a(), entry("/etc/x.safetensors")], "expected a plain *.safetensors file name"),
        (&[a(), entry("d/1.safetensors")], "expected a plain *.safetensors file name"),
        (&[a(), entry(r"d\\1.safetensors")], "expected a plain *.safetensors file name"),
        (&[a(), entry("c:1.safetensors")], "expected a plain *.safetensors file name"),
        (&[a(), entry(".safetensors")], "expected a plain *.safetensors file name"),
        (&[a(), entry("config.json")], "expected a plain *.safetensors file name"),
        (&[a(), index(r#"{"a": "1.safetensors", "a": "1.safetensors"}"#)], "index: found `a` twice"),
        (&[a(), index("{}")], "weight_map: found no tensors, expected at least one"),
        (&[a(), index(r#"{"a": 1}"#)], "index: found at `a`: invalid type: integer `1`, expected a string"),
        (&[a(), index("7")], "index: found invalid type: integer `7`, expected an object"),
        (&[a(), (INDEX, b"{".to_vec())], "index: found EOF while parsing an object"),
    ]);
}
