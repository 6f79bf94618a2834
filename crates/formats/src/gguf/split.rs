//! Split files: `PREFIX-00001-of-00003.gguf`, each with its own data section and alignment.
//!
//! `split.no` (0-based) and `split.count` stand in every shard, all other keys in shard 0 only. A count of 0 or 1, or
//! none, means a single file.

use std::collections::HashMap;
use std::fmt::Display;

use super::Header;
use crate::Error;

/// Digits of the shard numbers in a file name.
const DIGITS: usize = 5;

/// Brings the files of one checkpoint into the order of their shards and checks that the set is complete.
///
/// Afterwards the first header holds the metadata.
pub(crate) fn order<F>(files: Vec<(F, Header)>) -> Result<Vec<(F, Header)>, Error> {
    let placed = files.into_iter().map(|file| Ok((Place::read(&file.1)?, file)));
    let mut placed = placed.collect::<Result<Vec<_>, Error>>()?;
    placed.sort_by_key(|(place, _)| place.number);
    let headers: Vec<_> = placed.iter().map(|(place, (_, header))| (place, header)).collect();
    if !matches!(headers[..], [(place, _)] if place.count <= 1) {
        check_places(&headers)?;
        check_tensors(&headers)?;
    }
    Ok(placed.into_iter().map(|(_, file)| file).collect())
}

/// The place of one file in a split, from its keys.
struct Place {
    number: u64,
    count: u64,
    tensors: Option<u64>,
}

impl Place {
    fn read(header: &Header) -> Result<Self, Error> {
        let read = |key: &str| {
            let count = |value| u64::try_from(value).map_err(|_| malformed(header, key, value, "0 or more"));
            header.metadata.int(key)?.map(count).transpose()
        };
        Ok(Self {
            number: read("split.no")?.unwrap_or(0),
            count: read("split.count")?.unwrap_or(0),
            tensors: read("split.tensors.count")?,
        })
    }
}

/// Every shard is there once, agrees on how many there are, and is named after its number.
fn check_places(headers: &[(&Place, &Header)]) -> Result<(), Error> {
    let count = headers.len() as u64;
    let prefix =
        headers.iter().find_map(|(_, header)| parse_name(header.metadata.file())).map_or("PREFIX", |name| name.0);
    for (index, (place, header)) in (0..).zip(headers) {
        let file = header.metadata.file();
        if place.count <= 1 {
            let found = format_args!("{count} GGUF files, of which `{file}` is no shard");
            return Err(Error::files(found, "one file, or the shards of one model"));
        }
        if place.count != count {
            let expected = format_args!("the {} shards that `{file}` announces", place.count);
            return Err(Error::files(format_args!("{count} GGUF files"), expected));
        }
        if place.number != index {
            return Err(malformed(header, "split.no", place.number, format_args!("{index}, each number once")));
        }
        if parse_name(file) != Some((prefix, index + 1, count)) {
            let expected = format_args!("`{prefix}-{:0DIGITS$}-of-{count:0DIGITS$}.gguf`", index + 1);
            return Err(Error::malformed(file, "file name", format_args!("`{file}`"), expected));
        }
    }
    Ok(())
}

/// `PREFIX-00002-of-00003.gguf` as `(PREFIX, 2, 3)`.
fn parse_name(file: &str) -> Option<(&str, u64, u64)> {
    let number = |text: &str| (text.len() == DIGITS).then(|| text.parse().ok()).flatten();
    let (rest, count) = file.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (prefix, index) = rest.rsplit_once('-')?;
    Some((prefix, number(index)?, number(count)?))
}

/// No tensor is in two shards, and there are as many as the shards announce.
fn check_tensors(headers: &[(&Place, &Header)]) -> Result<(), Error> {
    let mut owners = HashMap::new();
    for (_, header) in headers {
        let file = header.metadata.file();
        for tensor in &header.tensors {
            if let Some(other) = owners.insert(tensor.name.as_str(), file) {
                let found = format_args!("it in `{other}` too");
                return Err(Error::malformed(file, format_args!("tensor `{}`", tensor.name), found, "it in one shard"));
            }
        }
    }
    let total = owners.len() as u64;
    for (place, header) in headers {
        if let Some(tensors) = place.tensors.filter(|&tensors| tensors != total) {
            let expected = format_args!("{total}, as all shards hold");
            return Err(malformed(header, "split.tensors.count", tensors, expected));
        }
    }
    Ok(())
}

fn malformed(header: &Header, key: &str, found: impl Display, expected: impl Display) -> Error {
    Error::malformed(header.metadata.file(), format_args!("key `{key}`"), found, expected)
}
