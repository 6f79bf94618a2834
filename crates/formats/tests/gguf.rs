//! The GGUF reader on sound files, and on hostile ones: each error names file, field, found and expected.

use plimsoll_formats::blocks;
use plimsoll_formats::gguf::{self, Array, Header, Value, Writer};

/// A header written field by field, true or not.
#[derive(Clone, Default)]
struct Raw(Vec<u8>);

impl Raw {
    fn new(tensors: u64, keys: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(3).u64(tensors).u64(keys)
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn string(self, bytes: &[u8]) -> Self {
        self.u64(bytes.len() as u64).bytes(bytes)
    }

    /// A key up to its value.
    fn key(self, name: &str, kind: u32) -> Self {
        self.string(name.as_bytes()).u32(kind)
    }

    /// A tensor's entry, `ne` fastest first.
    fn tensor(self, name: &str, ne: &[u64], kind: u32, offset: u64) -> Self {
        let raw = self.string(name.as_bytes()).u32(ne.len() as u32);
        ne.iter().fold(raw, |raw, &dim| raw.u64(dim)).u32(kind).u64(offset)
    }

    /// Pads to 32 and appends a data section of zeros.
    fn data(mut self, len: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(32) + len, 0);
        self
    }
}

/// A sound file with every kind of value.
fn sound() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.set("general.architecture", "llama");
    writer.set("a.u8", Value::U8(200));
    writer.set("a.i8", -3i8);
    writer.set("a.u16", 7u16);
    writer.set("a.i16", -7i16);
    writer.set("a.u32", 1u32 << 31);
    writer.set("a.i32", -1i32);
    writer.set("a.f32", 1.5f32);
    writer.set("a.f64", 0.1f64);
    writer.set("a.flag", true);
    writer.set("a.u64", u64::MAX);
    writer.set("a.i64", i64::MIN);
    writer.set("a.bytes", vec![0xFFu8, 0]);
    writer.set("a.strings", vec![b"x".to_vec(), vec![], vec![0xC0]]);
    writer.set("a.flags", vec![true, false]);
    writer.set("a.ints", vec![1i32, -2]);
    writer.set("a.big", vec![u64::MAX]);
    writer.set("a.floats", vec![0.5f32, -0.0]);
    writer.set("a.bytes_array", Value::Array(Array::U8(vec![1, 2, 3])));
    writer.tensor("m.weight", &blocks::Q8_0, &[2, 64], vec![1; 136]).unwrap();
    writer.tensor("v.bias", &blocks::F32, &[3], vec![2; 12]).unwrap();
    let mut file = Vec::new();
    writer.write(&mut file).unwrap();
    file
}

fn parse(file: &[u8]) -> Result<Header, String> {
    gguf::parse("x.gguf", file).map_err(|error| error.to_string())
}

#[test]
fn a_written_file_reads_back() {
    let file = sound();
    let header = parse(&file).unwrap();
    let [matrix, vector] = &header.tensors[..] else { panic!("{:?}", header.tensors) };
    assert_eq!((matrix.name.as_str(), matrix.block, &matrix.shape[..]), ("m.weight", &blocks::Q8_0, &[2, 64][..]));
    assert_eq!(file[header.range(matrix)], [1; 136]);
    assert_eq!(file[header.range(vector)], [2; 12]);
    assert_eq!((header.alignment, vector.offset, header.data_start % 32), (32, 160, 0));
    let keys: Vec<_> = header.metadata.iter().map(|(key, _)| key).take(3).collect();
    assert_eq!(keys, ["general.architecture", "a.u8", "a.i8"]);
}

#[test]
fn typed_access_converts_what_fits_and_names_what_does_not() {
    let header = parse(&sound()).unwrap();
    let keys = &header.metadata;
    for (key, expected) in [
        ("a.u8", 200),
        ("a.i8", -3),
        ("a.u16", 7),
        ("a.i16", -7),
        ("a.u32", 1 << 31),
        ("a.i32", -1),
        ("a.i64", i64::MIN),
    ] {
        assert_eq!(keys.int(key).unwrap(), Some(expected), "{key}");
    }
    assert_eq!((keys.float("a.f32").unwrap(), keys.float("a.f64").unwrap()), (Some(1.5), Some(0.1)));
    assert_eq!(keys.flag("a.flag").unwrap(), Some(true));
    assert_eq!(keys.text("general.architecture").unwrap(), Some("llama"));
    assert_eq!(keys.bytes("a.bytes").unwrap(), Some(&[0xFF, 0][..]));
    assert_eq!(keys.strings("a.strings").unwrap(), Some(&[b"x".to_vec(), vec![], vec![0xC0]][..]));
    assert_eq!(keys.ints("a.flags").unwrap(), Some(vec![1, 0]));
    assert_eq!(keys.ints("a.bytes_array").unwrap(), Some(vec![1, 2, 3]));
    assert_eq!(keys.floats("a.ints").unwrap(), Some(vec![1.0, -2.0]));
    assert_eq!(keys.floats("a.floats").unwrap(), Some(vec![0.5, 0.0]));
    assert_eq!((keys.int("b").unwrap(), keys.text("b").unwrap(), keys.ints("b").unwrap()), (None, None, None));
    let errors = [
        (keys.int("a.f32").err(), "x.gguf: key `a.f32`: found f32, expected an integer"),
        (keys.int("a.u64").err(), "x.gguf: key `a.u64`: found u64, expected an integer"),
        (keys.text("a.bytes").err(), "x.gguf: key `a.bytes`: found string, expected a string of UTF-8"),
        (keys.flag("a.u8").err(), "x.gguf: key `a.u8`: found u8, expected a bool"),
        (keys.ints("a.strings").err(), "x.gguf: key `a.strings`: found array of string, expected an array of integers"),
        (keys.ints("a.big").err(), "x.gguf: key `a.big`: found array of u64, expected an array of integers"),
        (keys.ints("a.u8").err(), "x.gguf: key `a.u8`: found u8, expected an array of integers"),
        (keys.float("a.u8").err(), "x.gguf: key `a.u8`: found u8, expected a float"),
    ];
    for (error, expected) in errors {
        let message = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let file = sound();
    let header = parse(&file).unwrap();
    let end = header.range(&header.tensors[1]).end;
    for len in 0..end {
        let message = parse(&file[..len]).unwrap_err();
        assert!(
            message.starts_with("x.gguf: ") && message.contains("found") && message.contains("expected"),
            "{message}"
        );
    }
    // Only the padding after the last tensor may be missing.
    assert!(parse(&file[..end]).is_ok());
}

#[test]
fn unusual_but_sound_files() {
    let shape = |raw: Raw| parse(&raw.0).map(|header| header.tensors[0].shape.clone());
    assert_eq!(parse(&Raw::new(0, 0).0).unwrap().tensors, []);
    assert_eq!(shape(Raw::new(1, 0).tensor("scalar", &[], 0, 0).data(4)), Ok(vec![]));
    assert_eq!(shape(Raw::new(1, 0).tensor("none", &[0, 5], 2, 0).data(0)), Ok(vec![5, 0]));
    assert_eq!(shape(Raw::new(1, 0).tensor("ones", &[3, 1, 1], 0, 32).data(44)), Ok(vec![1, 1, 3]));
    let version_2 = Raw::default().bytes(b"GGUF").u32(2).u64(0).u64(0);
    assert_eq!(parse(&version_2.0).unwrap().version, 2);
    let aligned = Raw::new(1, 1).key("general.alignment", 4).u32(8).tensor("t", &[1], 0, 8).data(12);
    assert_eq!(parse(&aligned.0).unwrap().alignment, 8);
    let reordered = Raw::new(2, 0).tensor("b", &[8], 0, 32).tensor("a", &[8], 0, 0).data(64);
    assert_eq!(parse(&reordered.0).unwrap().tensors.len(), 2);
}

#[test]
fn hostile_headers() {
    let one = |kind: u32| Raw::new(0, 1).key("k", kind);
    let aligned = |alignment: u32| Raw::new(0, 1).key("general.alignment", 4).u32(alignment).data(64);
    let cases: &[(Raw, &str)] = &[
        (Raw::default(), "magic: found 0 bytes up to the end of the file, expected 4 bytes at offset 0"),
        (Raw::default().bytes(b"GGML").u32(3), "magic: found `GGML`, expected `GGUF`"),
        (Raw::default().bytes(b"FUGG").u32(3), "magic: found `FUGG`, expected `GGUF`"),
        (Raw::default().bytes(b"GGUF").u32(1), "version: 1 is not supported, expected 2 or 3"),
        (Raw::default().bytes(b"GGUF").u32(4), "version: 4 is not supported, expected 2 or 3"),
        (
            Raw::default().bytes(b"GGUF").u32(3 << 24),
            "version: 3 in big-endian byte order is not supported, expected a little-endian file",
        ),
        (
            Raw::new(1, 0),
            "tensor count and key count: found 1 and 0, expected counts whose entries fit the remaining 0",
        ),
        (Raw::new(0, 1), "tensor count and key count: found 0 and 1, expected"),
        (Raw::new(u64::MAX, 1), "tensor count and key count: found 18446744073709551615 and 1, expected"),
        (Raw::new(1 << 61, u64::MAX / 13), "tensor count and key count: found 2305843009213693952 and"),
        (
            Raw::new(0, 1).u64(u64::MAX).data(64),
            "name of key 0: found a string of 18446744073709551615 bytes, expected",
        ),
        (Raw::new(0, 1).string(&[0xFF; 16]).data(8), "name of key 0: found `\\xff"),
        (one(13).u64(0), "key `k`: found value type 13, expected a type from 0 to 12"),
        (one(4).bytes(&[1, 2, 3]), "key `k`: found 3 bytes up to the end of the file, expected 4 bytes at offset 37"),
        (one(7).bytes(&[2]), "key `k`: found a bool of value 2, expected 0 or 1"),
        (one(9).u32(7).u64(1).bytes(&[9]), "key `k`: found a bool of value 9, expected 0 or 1"),
        (one(8).u64(1 << 40).data(64), "key `k`: found a string of 1099511627776 bytes, expected at most"),
        (one(9).u32(9).u64(1), "key `k`: an array of arrays is not supported, expected an array of scalars or strings"),
        (one(9).u32(99).u64(1), "key `k`: found value type 99, expected"),
        (
            one(9).u32(0).u64(1 << 62).data(64),
            "key `k`: found an array of 4611686018427387904 elements, expected at most",
        ),
        (one(9).u32(8).u64(9).bytes(&[0; 64]), "key `k`: found an array of 9 elements, expected at most 8 "),
        (one(9).u32(12).u64(9).bytes(&[0; 64]), "key `k`: found an array of 9 elements, expected at most 8 "),
        (one(0).bytes(&[1]).data(64), ""),
        (
            Raw::new(0, 2).key("k", 0).bytes(&[1]).key("k", 0).bytes(&[1]),
            "key `k`: found it twice, expected unique keys",
        ),
        (aligned(0), "key `general.alignment`: found 0, expected a u32 power of two up to 1048576"),
        (aligned(24), "key `general.alignment`: found 24, expected a u32 power of two"),
        (aligned(1 << 21), "key `general.alignment`: found 2097152, expected a u32 power of two"),
        (Raw::new(0, 1).key("general.alignment", 10).u64(32), "key `general.alignment`: found u64, expected a u32"),
    ];
    check(cases);
}

#[test]
fn hostile_tensors() {
    let one = |ne: &[u64], kind, offset| Raw::new(1, 0).tensor("t", ne, kind, offset).data(64);
    let long = "n".repeat(64);
    let cases: &[(Raw, &str)] = &[
        (Raw::new(1, 0).tensor("t", &[0], 0, 0), "tensor data: found a file of 57 bytes, expected it at 64"),
        (
            Raw::new(1, 0).tensor("", &[1], 0, 0).data(64),
            "name of tensor 0: found `` of 0 bytes, expected 1 to 63 bytes",
        ),
        (Raw::new(1, 0).tensor(&long, &[1], 0, 0).data(64), "of 64 bytes, expected 1 to 63 bytes"),
        (Raw::new(1, 0).string(b"\xFFt").data(64), "name of tensor 0: found `\\xfft`, expected UTF-8 text"),
        (one(&[1; 5], 0, 0), "n_dims of tensor `t`: found 5, expected at most 4"),
        (
            one(&[32], 4, 0),
            "type of tensor `t`: type id 4 is not supported, expected one of F32 (0), F16 (1), BF16 (30)",
        ),
        (one(&[32], 42, 0), "type of tensor `t`: type id 42 is not supported"),
        (one(&[33], 2, 0), "shape of tensor `t`: found [33], expected rows of a multiple of 32 values for Q4_0"),
        (one(&[], 8, 0), "shape of tensor `t`: found [], expected rows of a multiple of 32 values for Q8_0"),
        (
            one(&[1 << 32, 1 << 32], 0, 0),
            "shape of tensor `t`: found [4294967296, 4294967296], expected a size below 2^64",
        ),
        (
            one(&[u64::MAX / 2], 0, 0),
            "shape of tensor `t`: found [9223372036854775807], expected a size below 2^64 bytes",
        ),
        (
            one(&[17], 0, 0),
            "offset of tensor `t`: found 68 bytes at 0 (F32 [17]), expected an end within the 64 bytes of tensor data",
        ),
        (one(&[9], 0, 32), "offset of tensor `t`: found 36 bytes at 32 (F32 [9]), expected an end within the 64 bytes"),
        (one(&[1], 0, 16), "offset of tensor `t`: found 16, expected a multiple of 32"),
        (one(&[1], 0, u64::MAX - 31), "offset of tensor `t`: found 4 bytes at 18446744073709551584"),
        (one(&[0], 0, 96), "offset of tensor `t`: found 0 bytes at 96 (F32 [0]), expected an end within the 64 bytes"),
        (
            Raw::new(2, 0).tensor("t", &[1], 0, 0).tensor("t", &[1], 0, 32).data(64),
            "name of tensor 1: found `t` twice, expected unique names",
        ),
        (
            Raw::new(2, 0).tensor("a", &[9], 0, 0).tensor("b", &[1], 0, 32).data(64),
            "offset of tensor `b`: found 32, expected at least 36, the end of tensor `a`",
        ),
        (
            Raw::new(2, 0).tensor("a", &[4], 0, 0).tensor("b", &[4], 0, 0).data(64),
            "offset of tensor `b`: found 0, expected at least 16, the end of tensor `a`",
        ),
    ];
    check(cases);
}

#[test]
fn streamed_tensors_are_written_as_stored_ones_or_not_at_all() {
    let file = |pieces: &'static [&'static [u8]]| {
        let mut writer = Writer::new();
        writer.stream("a", &blocks::F32, &[2], |out| pieces.iter().try_for_each(|piece| out.write_all(piece))).unwrap();
        writer.tensor("b", &blocks::F32, &[1], vec![9; 4]).unwrap();
        let mut file = Vec::new();
        writer.write(&mut file).map(|()| file).map_err(|error| error.to_string())
    };
    let mut stored = Writer::new();
    stored.tensor("a", &blocks::F32, &[2], vec![1; 8]).unwrap();
    stored.tensor("b", &blocks::F32, &[1], vec![9; 4]).unwrap();
    let mut expected = Vec::new();
    stored.write(&mut expected).unwrap();
    assert_eq!(file(&[&[1; 3], &[1; 5]]), Ok(expected));
    assert_eq!(file(&[&[1; 3]]), Err("tensor `a`: 3 of 8 bytes written".into()));
    assert_eq!(file(&[&[1; 7], &[1; 2]]), Err("tensor `a`: 2 bytes more, with room for 1".into()));
    assert!(Writer::new().stream("a", &blocks::Q8_0, &[33], |_| Ok(())).is_err());
}

#[test]
fn hostile_vocabularies() {
    let file = |scores: usize, eos: u32, token: usize| {
        let mut writer = Writer::new();
        writer.set("tokenizer.ggml.tokens", vec![b"a".to_vec(), vec![b'x'; token]]);
        writer.set("tokenizer.ggml.scores", vec![0f32; scores]);
        writer.set("tokenizer.ggml.eos_token_id", eos);
        let mut file = Vec::new();
        writer.write(&mut file).unwrap();
        Raw(file)
    };
    let cases = [
        (file(2, 1, 5), ""),
        (file(3, 1, 5), "key `tokenizer.ggml.scores`: found 3 elements, expected one for each of 2 tokens"),
        (file(2, 2, 5), "key `tokenizer.ggml.eos_token_id`: found id 2, expected an id below 2"),
        (file(2, u32::MAX, 5), "key `tokenizer.ggml.eos_token_id`: found id 4294967295, expected an id below 2"),
        (file(2, 1, 65537), "key `tokenizer.ggml.tokens`: found token 1 of 65537 bytes, expected at most 65536"),
    ];
    check(&cases);
}

/// Each file fails with a message of this beginning after the file's name, or is sound where it is empty.
fn check(cases: &[(Raw, &str)]) {
    for (file, expected) in cases {
        match parse(&file.0) {
            Ok(_) => assert_eq!(*expected, ""),
            Err(message) => {
                assert!(
                    !expected.is_empty() && message.starts_with("x.gguf: ") && message.contains(expected),
                    "{message}"
                );
            }
        }
    }
}

#[test]
fn vocabulary_only_files_of_the_field() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/vocab");
    let Ok(files) = std::fs::read_dir(folder) else { return println!("skipped: no test data at ../shared/data") };
    let files = files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|ext| ext == "gguf"));
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        let header = gguf::parse(&path.to_string_lossy(), &bytes).unwrap();
        assert_eq!(header.tensors, []);
        let tokens = header.metadata.strings("tokenizer.ggml.tokens").unwrap().unwrap();
        let types = header.metadata.ints("tokenizer.ggml.token_type").unwrap().unwrap();
        assert!(tokens.len() >= 32000 && tokens.len() == types.len(), "{}", path.display());
        let merges = header.metadata.strings("tokenizer.ggml.merges").unwrap();
        let scores = header.metadata.floats("tokenizer.ggml.scores").unwrap();
        assert!(merges.is_some() || scores.is_some(), "{}", path.display());
        for cut in [1, 1000, bytes.len() - 1] {
            gguf::parse("cut", &bytes[..cut]).unwrap_err();
        }
    }
}
