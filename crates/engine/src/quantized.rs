//! Weights that are quantized while they are loaded: a source over a source.

use std::cell::RefCell;
use std::collections::BTreeMap;

use plimsoll_backend::TensorSource;
use plimsoll_formats::blocks::BlockType;
use plimsoll_formats::{Recipe, TensorView, quantize};
use plimsoll_lock::Digest;
use plimsoll_model::{Container, TensorId};

use crate::Checkpoint;

type Error = plimsoll_formats::Error;

/// Gives every tensor in the blocks of a recipe. One tensor at a time is made, and none is kept.
pub(crate) struct Quantized<'a> {
    checkpoint: &'a Checkpoint,
    /// The checkpoint, or what counts its bytes.
    source: &'a dyn TensorSource,
    recipe: &'static Recipe,
    threads: usize,
    /// Of every tensor that was made, by its name in GGUF.
    digests: RefCell<BTreeMap<String, Digest>>,
}

impl<'a> Quantized<'a> {
    /// # Errors
    /// [`Error::Unsupported`] if a matrix is quantized already.
    pub(crate) fn new(
        checkpoint: &'a Checkpoint,
        source: &'a dyn TensorSource,
        recipe: &'static Recipe,
        threads: usize,
    ) -> Result<Self, Error> {
        for (id, _) in checkpoint.decoder().tensors() {
            let view = checkpoint.tensor(id)?;
            if view.block.values > 1 {
                return Err(Error::Unsupported {
                    file: "checkpoint".into(),
                    field: format!("quantize = `{}`, tensor `{}`", recipe.name, view.name),
                    found: view.block.to_string(),
                    expected: "F32, F16 or BF16: only weights of full precision are quantized".into(),
                });
            }
        }
        Ok(Self { checkpoint, source, recipe, threads, digests: RefCell::default() })
    }

    /// Over all tensors in the order of their names, whatever the order in which they were asked for: the SHA-256 of the
    /// digests of each, which are over `name block [shape]`, a line end and its blocks. What nobody asked for is made now.
    pub(crate) fn result(&self) -> Result<Digest, Error> {
        for (id, _) in self.checkpoint.decoder().tensors() {
            if !self.digests.borrow().contains_key(&self.name(id)) {
                self.tensor(id)?;
            }
        }
        Ok(Digest::of_parts(self.digests.borrow().values().map(|digest| digest.0.0.as_slice())))
    }

    fn name(&self, id: TensorId) -> String {
        self.checkpoint.family().names(Container::Gguf).name(id).unwrap_or_else(|_| id.to_string())
    }
}

impl TensorSource for Quantized<'_> {
    fn block(&self, id: TensorId) -> Result<&'static BlockType, Error> {
        let shape = self.checkpoint.tensor(id)?.shape;
        Ok(self.recipe.block(self.checkpoint.decoder(), id, &shape))
    }

    fn tensor(&self, id: TensorId) -> Result<TensorView<'_>, Error> {
        let block = self.block(id)?;
        let view = self.source.tensor(id)?;
        let data = quantize(&view, block, self.threads)?;
        let name = self.name(id);
        let head = format!("{name} {block} {:?}\n", view.shape);
        self.digests.borrow_mut().insert(name, Digest::of_parts([head.as_bytes(), &data]));
        let quantized = TensorView { name: view.name, block, shape: view.shape.clone(), data: data.into() };
        self.source.release(view);
        Ok(quantized)
    }
}
