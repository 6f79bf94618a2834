use plimsoll_formats::blocks::BlockType;
use plimsoll_formats::{Error, TensorView};
use plimsoll_model::TensorId;

/// Where a backend reads weights from, by what they are for.
pub trait TensorSource {
    /// The stored tensor with the shape [`Decoder::tensors`](plimsoll_model::Decoder::tensors) gives it.
    fn tensor(&self, id: TensorId) -> Result<TensorView<'_>, Error>;

    /// The type of a tensor's blocks; reads none of them.
    fn block(&self, id: TensorId) -> Result<&'static BlockType, Error> {
        Ok(self.tensor(id)?.block)
    }

    /// Takes back a tensor that has been copied, so that its memory can be used for others.
    fn release(&self, _view: TensorView<'_>) {}

    /// Its values as f32, `[rows * cols]`.
    fn values(&self, id: TensorId) -> Result<Vec<f32>, Error> {
        self.tensor(id)?.to_f32()
    }
}
