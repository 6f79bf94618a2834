//! A checkpoint: its tensors, whatever the container, and the small files beside them.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::ops::Range;

use indexmap::IndexMap;
use plimsoll_model::Container;

use crate::blocks::BlockType;
use crate::map::Map;
use crate::safetensors::{self, INDEX, Index};
use crate::view::TensorView;
use crate::{Error, gguf};

/// Largest file that holds no weights, in bytes (64 MiB).
const MAX_ASSET: u64 = 64 << 20;

/// The file that makes a folder without weights worth opening.
const TOKENIZER: &str = "tokenizer.json";

/// An open file of a checkpoint.
#[derive(Debug)]
pub struct NamedFile {
    /// Name relative to the checkpoint, e.g. `model.safetensors`.
    pub name: String,
    /// The descriptor that is read; no path is ever opened here.
    pub file: File,
}

/// A checkpoint, its weights mapped and its headers checked.
#[derive(Debug)]
pub struct Weights {
    container: Container,
    metadata: Option<gguf::Metadata>,
    maps: Vec<Map>,
    tensors: IndexMap<String, Entry>,
    assets: HashMap<String, Vec<u8>>,
}

#[derive(Debug)]
struct Entry {
    /// Index into `maps`.
    map: usize,
    range: Range<usize>,
    block: &'static BlockType,
    shape: Vec<usize>,
}

impl Weights {
    /// Opens the files of one checkpoint: `*.gguf` (one, or all splits of one model), or `*.safetensors` (one, or the
    /// shards that `model.safetensors.index.json` names; others are ignored). Every other file becomes an asset. No weights
    /// at all will do where there is a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Files`] if the files do not make up one checkpoint of one container; whatever a header's check finds;
    /// an asset over 64 MiB; [`Error::Io`].
    pub fn open(files: Vec<NamedFile>) -> Result<Self, Error> {
        let mut names = HashSet::new();
        if let Some(twice) = files.iter().find(|file| !names.insert(file.name.as_str())) {
            return Err(Error::files(format_args!("`{}` twice", twice.name), "unique names"));
        }
        let (ggufs, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.name.ends_with(".gguf"));
        let (shards, others): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| file.name.ends_with(".safetensors"));
        let mut assets = HashMap::new();
        for file in others {
            let bytes = read_asset(&file)?;
            assets.insert(file.name, bytes);
        }
        match (ggufs.is_empty(), shards.is_empty()) {
            (false, true) => open_gguf(ggufs, assets),
            (true, false) => open_safetensors(shards, assets),
            (true, true) if assets.contains_key(TOKENIZER) => Ok(tokenizer_alone(assets)),
            (true, true) => Err(Error::files("no weights", "*.gguf or *.safetensors files")),
            (false, false) => Err(Error::files("both *.gguf and *.safetensors files", "one of the two")),
        }
    }

    /// The container of the weights.
    pub fn container(&self) -> Container {
        self.container
    }

    /// The keys of a GGUF file; of the first, if it is split.
    pub fn metadata(&self) -> Option<&gguf::Metadata> {
        self.metadata.as_ref()
    }

    /// Names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor by its name in the container.
    pub fn get(&self, name: &str) -> Option<TensorView<'_>> {
        let (name, entry) = self.tensors.get_key_value(name)?;
        let data = self.maps.get(entry.map)?.get(entry.range.clone())?;
        Some(TensorView { name, block: entry.block, shape: entry.shape.clone(), data: data.into() })
    }

    /// Gives the memory that reading a tensor took back to the system. Reading it again is right, and reads the file again.
    pub fn release(&self, name: &str) {
        if let Some(entry) = self.tensors.get(name)
            && let Some(map) = self.maps.get(entry.map)
        {
            map.release(entry.range.clone());
        }
    }

    /// Names of the files that hold no weights, sorted.
    pub fn assets(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<_> = self.assets.keys().map(String::as_str).collect();
        names.sort_unstable();
        names.into_iter()
    }

    /// A file that holds no weights, e.g. `config.json`, by its name.
    pub fn asset(&self, name: &str) -> Option<&[u8]> {
        self.assets.get(name).map(Vec::as_slice)
    }
}

/// A tokenizer without a model, as a GGUF with a vocabulary alone is one: good for tokenizing and rendering.
fn tokenizer_alone(assets: HashMap<String, Vec<u8>>) -> Weights {
    Weights { container: Container::Safetensors, metadata: None, maps: Vec::new(), tensors: IndexMap::new(), assets }
}

/// Reads a whole small file, whatever the descriptor's position.
fn read_asset(file: &NamedFile) -> Result<Vec<u8>, Error> {
    let io = |source| Error::Io { file: file.name.clone(), source };
    let mut bytes = Vec::new();
    let mut reader = &file.file;
    std::io::Seek::rewind(&mut reader).map_err(io)?;
    reader.take(MAX_ASSET + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_ASSET {
        let expected = format_args!("at most {MAX_ASSET} for a file without weights");
        return Err(Error::malformed(&file.name, "size in bytes", "more", expected));
    }
    Ok(bytes)
}

fn open_gguf(files: Vec<NamedFile>, assets: HashMap<String, Vec<u8>>) -> Result<Weights, Error> {
    let mut parsed = Vec::with_capacity(files.len());
    for file in &files {
        let map = Map::new(&file.name, &file.file)?;
        let header = gguf::parse(&file.name, &map)?;
        parsed.push((map, header));
    }
    let mut metadata = None;
    let mut maps = Vec::new();
    let mut tensors = IndexMap::new();
    for (map, header) in gguf::order(parsed)? {
        for tensor in &header.tensors {
            let entry = Entry {
                map: maps.len(),
                range: header.range(tensor),
                block: tensor.block,
                shape: shape(&header, tensor)?,
            };
            tensors.insert(tensor.name.clone(), entry);
        }
        metadata.get_or_insert(header.metadata);
        maps.push(map);
    }
    Ok(Weights { container: Container::Gguf, metadata, maps, tensors, assets })
}

/// The shape in units of memory, which only a dimension beside one of 0 can exceed.
fn shape(header: &gguf::Header, tensor: &gguf::TensorInfo) -> Result<Vec<usize>, Error> {
    let dims: Result<_, _> = tensor.shape.iter().map(|&dim| usize::try_from(dim)).collect();
    dims.map_err(|_| {
        let field = format_args!("shape of tensor `{}`", tensor.name);
        Error::malformed(header.metadata.file(), field, format_args!("{:?}", tensor.shape), "sizes that fit memory")
    })
}

fn open_safetensors(files: Vec<NamedFile>, assets: HashMap<String, Vec<u8>>) -> Result<Weights, Error> {
    let index = assets.get(INDEX).map(|bytes| Index::parse(bytes)).transpose()?;
    let files = match &index {
        Some(index) => pick_shards(files, index)?,
        None if files.len() == 1 => files,
        None => return Err(Error::files(format_args!("{} *.safetensors files and no index", files.len()), INDEX)),
    };
    let mut maps = Vec::with_capacity(files.len());
    let mut headers = Vec::with_capacity(files.len());
    for file in &files {
        let map = Map::new(&file.name, &file.file)?;
        headers.push(safetensors::parse(&file.name, &map)?);
        maps.push(map);
    }
    if let Some(index) = &index {
        let shards: Vec<_> =
            files.iter().zip(&headers).map(|(file, tensors)| (file.name.as_str(), &tensors[..])).collect();
        index.check(&shards)?;
    }
    let mut tensors = IndexMap::new();
    for (map, header) in headers.into_iter().enumerate() {
        for safetensors::TensorInfo { name, block, shape, range } in header {
            tensors.insert(name, Entry { map, range, block, shape });
        }
    }
    Ok(Weights { container: Container::Safetensors, metadata: None, maps, tensors, assets })
}

/// The files an index names, in its order.
fn pick_shards(files: Vec<NamedFile>, index: &Index) -> Result<Vec<NamedFile>, Error> {
    let mut files: HashMap<String, NamedFile> = files.into_iter().map(|file| (file.name.clone(), file)).collect();
    let missing =
        |shard| Error::files(format_args!("no file `{shard}`"), format_args!("every shard that {INDEX} names"));
    index.shards().into_iter().map(|shard| files.remove(shard).ok_or_else(|| missing(shard))).collect()
}
