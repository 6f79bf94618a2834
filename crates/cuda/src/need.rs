//! What a model takes of the device's memory: the same buffers that loading it makes, counted instead of made.

use plimsoll_backend::{Error, Fit, Need, Room, TensorSource};
use plimsoll_model::Decoder;

use crate::NAME;
use crate::backend::Cuda;
use crate::batch::{self, filled};
use crate::cache;
use crate::driver::Driver;
use crate::pack::packed_bytes;

impl<D: Driver> Cuda<D> {
    /// A model held against the memory there is.
    pub(crate) fn fit_model(&self, decoder: &Decoder, source: &dyn TensorSource, room: Room<'_>) -> Result<Fit, Error> {
        let mut memory = self.device.memory()?;
        memory.free = memory.free.min(self.most);
        let bytes = |buffers: &[usize]| buffers.iter().map(|bytes| self.device.footprint(*bytes)).sum::<u64>();
        let mut weights = 0;
        for (id, shape) in decoder.tensors() {
            weights += bytes(&packed_bytes(source.block(id)?, &shape));
        }
        let buffers: Vec<usize> = room.buffers.iter().map(|(rows, width)| filled(*rows) * width * 4).collect();
        let plan = batch::bytes(decoder, (room.tokens, room.outputs), room.cache, self.fast);
        let need = Need {
            weights,
            cache: bytes(&cache::bytes(decoder, room.cache, self.kv)),
            activations: bytes(&buffers)
                + bytes(&plan)
                + bytes(&cache::attention_bytes(decoder, self.capacity(decoder))),
        };
        Ok(Fit { backend: NAME, need, memory: Some(memory) })
    }
}
