//! Split files: `PREFIX-00001-of-00003.gguf`, each with its own data section and alignment.
//!
//! `split.no` (0-based) and `split.count` stand in every shard, all other keys in shard 0 only. A count of 0 or 1, or
//! none, means a single file.

use super::Header;
use crate::Error;

/// Digits of the shard numbers in a file name.
const DIGITS: usize = 5;

/// The place of one file in a split, from its keys.
struct Place {
    number: u64,
    count: u64,
    tensors: Option<u64>,
}

/// Brings the files of one checkpoint into the order of their shards and checks that the set is complete.
///
/// Afterwards the first header holds the metadata.
pub(crate) fn order<F>(mut files: Vec<(F, Header)>) -> Result<Vec<(F, Header)>, Error> {
    let mut places = Vec::with_capacity(files.len());
    for (_, header) in &files {
        places.push(place(header)?);
    }
    let split = files.len() != 1 || places.iter().any(|place| place.count > 1);
    if !split {
        return Ok(files);
    }
    check_set(&files, &places)?;
    files.sort_by_cached_key(|(_, header)| place(header).map_or(u64::MAX, |place| place.number));
    check_names(&files)?;
    Ok(files)
}

fn place(header: &Header) -> Result<Place, Error> {
    let read = |key: &str| {
        let value = header.metadata.int(key)?.map(|value| {
            let field = format_args!("key `{key}`").to_string();
            u64::try_from(value).map_err(|_| Error::malformed(header.metadata.file(), field, value, "0 or more"))
        });
        value.transpose()
    };
    Ok(Place {
        number: read("split.no")?.unwrap_or(0),
        count: read("split.count")?.unwrap_or(0),
        tensors: read("split.tensors.count")?,
    })
}

/// Every shard once, each agreeing on how many there are, each named after its number.
fn check_set<F>(files: &[(F, Header)], places: &[Place]) -> Result<(), Error> {
    let count = files.len() as u64;
    let prefix =
        places.iter().zip(files).find_map(|(_, (_, header))| parse_name(header.metadata.file())).map(|name| name.0);
    let mut seen = vec![false; files.len()];
    for ((_, header), place) in files.iter().zip(places) {
        let file = header.metadata.file();
        if place.count <= 1 {
            return Err(Error::malformed(
                file,
                "key `split.count`",
                place.count,
                format_args!("{count}, as there are {count} GGUF files"),
            ));
        }
        if place.count != count {
            return Err(Error::files(
                format_args!("{count} GGUF files"),
                format_args!("the {} shards that `{file}` announces", place.count),
            ));
        }
        match usize::try_from(place.number).ok().and_then(|number| seen.get_mut(number)) {
            Some(seen) if !*seen => *seen = true,
            _ => {
                let expected = format_args!("each number below {count} once");
                return Err(Error::malformed(file, "key `split.no`", place.number, expected));
            }
        }
        let expected = Some((prefix.unwrap_or_default(), place.number + 1, count));
        if parse_name(file) != expected {
            return Err(Error::malformed(
                file,
                "file name",
                format_args!("`{file}`"),
                format_args!("`{}-{:05}-of-{count:05}.gguf`", prefix.unwrap_or("PREFIX"), place.number + 1),
            ));
        }
        let total: u64 = files.iter().map(|(_, header)| header.tensors.len() as u64).sum();
        if let Some(tensors) = place.tensors.filter(|&tensors| tensors != total) {
            return Err(Error::malformed(
                file,
                "key `split.tensors.count`",
                tensors,
                format_args!("{total}, the tensors of all shards"),
            ));
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

/// No tensor is in two shards.
fn check_names<F>(files: &[(F, Header)]) -> Result<(), Error> {
    let mut owners = std::collections::HashMap::new();
    for (_, header) in files {
        let file = header.metadata.file();
        for tensor in &header.tensors {
            if let Some(other) = owners.insert(tensor.name.as_str(), file) {
                let found = format_args!("it in `{other}` too");
                return Err(Error::malformed(file, format_args!("tensor `{}`", tensor.name), found, "it in one shard"));
            }
        }
    }
    Ok(())
}
