//! llama.cpp, through its C interface.

use std::ffi::CString;
use std::time::{Duration, Instant};

use llama_cpp_sys_2 as sys;
use plimsoll::bench::{Phase, Work};

use super::{Engine, Linked, Result, token};
use crate::job::Job;

pub(super) const LINKED: Linked =
    Linked { name: "llama.cpp", settings: &["repack flash", "repack", "flash", ""], open };

/// Prompt tokens of one call; llama.cpp cuts them into micro-batches of 512, as llama-bench has it.
const BATCH: usize = 2048;

/// Context and batch live as long as the process.
struct Llama {
    context: *mut sys::llama_context,
    batch: sys::llama_batch,
}

fn open(job: &Job) -> Result<Box<dyn Engine>> {
    let path = CString::new(job.file.to_str().ok_or("the file's name is not UTF-8")?)?;
    let threads = i32::try_from(job.threads)?;
    let Work { tokens, depth, sequences, .. } = job.row.0;
    // Room for the warm-up, too.
    let cells = (depth + tokens).max(64) * sequences;
    // SAFETY: the calls that llama.h asks for, in its order; null is checked before a pointer is used.
    unsafe {
        sys::llama_backend_init();
        let mut params = sys::llama_model_default_params();
        params.use_extra_bufts = job.has("repack");
        let model = sys::llama_model_load_from_file(path.as_ptr(), params);
        if model.is_null() {
            return Err("llama.cpp refuses the model".into());
        }
        let mut params = sys::llama_context_default_params();
        params.n_ctx = u32::try_from(cells)?;
        params.n_batch = BATCH as u32;
        params.n_seq_max = u32::try_from(sequences)?;
        (params.n_threads, params.n_threads_batch) = (threads, threads);
        params.flash_attn_type =
            if job.has("flash") { sys::LLAMA_FLASH_ATTN_TYPE_ENABLED } else { sys::LLAMA_FLASH_ATTN_TYPE_DISABLED };
        params.no_perf = true;
        let context = sys::llama_init_from_model(model, params);
        if context.is_null() {
            return Err("llama.cpp refuses the context".into());
        }
        let batch = sys::llama_batch_init(BATCH as i32, 0, 1);
        Ok(Box::new(Llama { context, batch }))
    }
}

impl Llama {
    /// Puts a token of a sequence into the batch; `wanted` asks for its logits.
    fn push(&mut self, sequence: usize, position: usize, wanted: bool) {
        let at = self.batch.n_tokens as usize;
        assert!(at < BATCH, "at most {BATCH} tokens a call");
        // SAFETY: `llama_batch_init` made room for BATCH entries of each array, with one sequence id a token.
        unsafe {
            *self.batch.token.add(at) = token(sequence, position) as i32;
            *self.batch.pos.add(at) = position as i32;
            *self.batch.n_seq_id.add(at) = 1;
            **self.batch.seq_id.add(at) = sequence as i32;
            *self.batch.logits.add(at) = wanted.into();
        }
        self.batch.n_tokens += 1;
    }

    fn decode(&mut self) -> Result<()> {
        // SAFETY: context and batch are whole, and the context outlives the call.
        let code = unsafe {
            let code = sys::llama_decode(self.context, self.batch);
            sys::llama_synchronize(self.context);
            code
        };
        self.batch.n_tokens = 0;
        if code == 0 { Ok(()) } else { Err(format!("llama_decode returns {code}").into()) }
    }

    fn prefill(&mut self, sequence: usize, start: usize, end: usize) -> Result<()> {
        for position in start..end {
            self.push(sequence, position, position + 1 == end);
            if (position + 1 - start).is_multiple_of(BATCH) || position + 1 == end {
                self.decode()?;
            }
        }
        Ok(())
    }
}

impl Engine for Llama {
    fn run(&mut self, work: &Work) -> Result<Duration> {
        let Work { phase, tokens, depth, sequences } = *work;
        // SAFETY: the context is whole.
        unsafe { sys::llama_memory_clear(sys::llama_get_memory(self.context), false) };
        for sequence in 0..sequences {
            self.prefill(sequence, 0, depth)?;
        }
        let start = Instant::now();
        match phase {
            Phase::Prefill => self.prefill(0, depth, depth + tokens)?,
            Phase::Decode => {
                for position in depth..depth + tokens {
                    (0..sequences).for_each(|sequence| self.push(sequence, position, true));
                    self.decode()?;
                }
            }
        }
        Ok(start.elapsed())
    }
}
