//! Block types against goldens of the `gguf` package and of ggml; `goldens/make.py` makes them.

use plimsoll_formats::blocks::{self, BlockType, TABLE};

/// Reads a golden: some blocks, and their values as bits.
fn golden(folder: &str, block: &BlockType) -> Vec<u8> {
    let path = format!("{}/goldens/{folder}/{}.bin", env!("CARGO_MANIFEST_DIR"), block.name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(!bytes.is_empty() && bytes.len() % (block.bytes + 4 * block.values) == 0, "{path}");
    bytes
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_type_decodes_to_the_bits_of_the_golden() {
    for block in TABLE {
        let golden = golden("decode", block);
        let count = golden.len() / (block.bytes + 4 * block.values);
        let (data, expected) = golden.split_at(count * block.bytes);
        let mut values = vec![f32::NAN; count * block.values];
        block.decode(data, &mut values).unwrap();
        for (i, (found, expected)) in bits(&values).into_iter().zip(bits(&floats(expected))).enumerate() {
            assert_eq!(found, expected, "{block}: value {i}");
        }
    }
}

#[test]
fn encoders_give_the_bytes_of_the_golden() {
    for block in TABLE.iter().filter(|block| block.encodes()) {
        let golden = golden("encode", block);
        let count = golden.len() / (block.bytes + 4 * block.values);
        let (values, expected) = golden.split_at(count * block.values * 4);
        let mut data = vec![0xAA; count * block.bytes];
        block.encode(&floats(values), &mut data).unwrap();
        for (i, (found, expected)) in data.chunks(block.bytes).zip(expected.chunks(block.bytes)).enumerate() {
            assert_eq!(found, expected, "{block}: block {i}");
        }
    }
}

#[test]
fn rows_of_one_value_survive_encoding() {
    // Zero, one constant, and magnitudes at which scales underflow: all finite, and exact where the type can be.
    for value in [0.0, -0.0, 1.0, -2.0, 1e-12, -1e-20, f32::MIN_POSITIVE] {
        for block in TABLE.iter().filter(|block| block.encodes()) {
            let values = vec![value; 256];
            let mut data = vec![0xAA; block.row_bytes(256).unwrap()];
            block.encode(&values, &mut data).unwrap();
            let mut decoded = vec![f32::NAN; 256];
            block.decode(&data, &mut decoded).unwrap();
            for found in decoded {
                assert!(
                    (found - value).abs() <= value.abs().max(1e-7) * 0.01 || value.abs() < 1e-7 && found.abs() < 1e-7,
                    "{block}: {value} became {found}"
                );
            }
        }
    }
}

#[test]
fn wrong_lengths_are_errors() {
    let mut values = [0.0; 32];
    let cases = [
        (blocks::Q4_0.decode(&[0; 17], &mut values), "bytes of 32 values in Q4_0: found 17, expected 18"),
        (blocks::Q4_0.decode(&[0; 18], &mut values[..31]), "Q4_0 row: found 31, expected a multiple of 32"),
        (blocks::Q8_0.encode(&[0.0; 64], &mut [0; 34]), "bytes of 64 values in Q8_0: found 34, expected 68"),
        (blocks::F32.row_bytes(usize::MAX).map(drop), "expected a length that fits memory"),
        (blocks::F32.tensor_bytes(&[usize::MAX, 2]).map(drop), "expected a size that fits memory"),
        (blocks::Q3_K.encode(&[0.0; 256], &mut [0; 110]), "quantizing to Q3_K is not supported"),
    ];
    for (result, expected) in cases {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn types_are_found_by_id_and_name() {
    for block in TABLE {
        assert_eq!(blocks::by_id(block.id), Some(*block));
        assert_eq!(blocks::by_name(block.name), Some(*block));
    }
    assert_eq!((blocks::by_id(4), blocks::by_id(31), blocks::by_name("q4_0")), (None, None, None));
    assert_eq!(blocks::Q6_K.tensor_bytes(&[3, 512]).unwrap(), 3 * 2 * 210);
    assert_eq!(blocks::F32.tensor_bytes(&[]).unwrap(), 4);
}
