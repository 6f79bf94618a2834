//! A training run on disk, to be taken up again.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::optimizer::Optimizer;

/// All that a run needs to go on.
pub struct Checkpoint {
    /// The model.
    pub params: Vec<f32>,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Running share of right answers per task.
    pub hits: Vec<f32>,
}

impl Checkpoint {
    /// Where a model's run is kept.
    pub fn path(root: &Path, name: &str) -> PathBuf {
        root.join("target/train").join(name).join("checkpoint.safetensors")
    }

    /// Writes beside the old file, then replaces it.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let parts = [
            ("params", &self.params),
            ("mean", &self.optimizer.mean),
            ("square", &self.optimizer.square),
            ("hits", &self.hits),
        ];
        let bytes =
            parts.map(|(name, values)| (name, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()));
        let views =
            bytes.iter().map(|(name, bytes)| Ok((*name, TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes)?)));
        let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>().map_err(io::Error::other)?;
        let meta = HashMap::from([("step".to_owned(), self.optimizer.step.to_string())]);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        let fresh = path.with_extension("new");
        safetensors::serialize_to_file(views, Some(meta), &fresh).map_err(io::Error::other)?;
        std::fs::rename(fresh, path)
    }

    /// Reads a run; none if there is no file.
    pub fn load(path: &Path) -> io::Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(io::Error::other)?;
        let step = header.metadata().as_ref().and_then(|m| m.get("step")?.parse().ok());
        let step = step.ok_or_else(|| io::Error::other("checkpoint without a step"))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(io::Error::other)?;
        let read = |name: &str| -> io::Result<Vec<f32>> {
            let data = tensors.tensor(name).map_err(io::Error::other)?;
            Ok(data.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        };
        let optimizer = Optimizer { step, mean: read("mean")?, square: read("square")? };
        Ok(Some(Self { params: read("params")?, optimizer, hits: read("hits")? }))
    }
}
