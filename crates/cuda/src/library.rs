//! Products by NVIDIA's library for matrices, where it is there.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_void;

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys::{
    self, cublasLtMatmulDescAttributes_t, cublasLtMatmulPreferenceAttributes_t, cudaDataType_t,
};
use plimsoll_backend::Error;

use crate::NAME;
use crate::driver::Gemm;

/// Bytes that the library computes in; what it advises for a GPU of compute capability 9.
pub(crate) const WORKSPACE: usize = 32 << 20;
/// Its version, the first of CUDA 13.
const VERSION: usize = 130_000;

/// The library, opened for a GPU.
pub(crate) struct Library {
    handle: sys::cublasLtHandle_t,
    /// The kernel it advises for rows, columns and width, which it takes long to find.
    algorithms: RefCell<HashMap<[u32; 3], sys::cublasLtMatmulAlgo_t>>,
}

/// What is destroyed when it is not used any more.
struct Owned<T: Copy>(T, unsafe fn(T) -> Result<(), CublasError>);

impl<T: Copy> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: made by the library, and destroyed once. Nothing can be done about errors here.
        let _ = unsafe { (self.1)(self.0) };
    }
}

fn failed(what: &str) -> impl Fn(CublasError) -> Error + '_ {
    move |error| Error::Device { backend: NAME, reason: format!("{what}: {error}") }
}

/// A matrix of so many rows of so many values, as the library sees it: columns first.
fn layout(
    kind: cudaDataType_t,
    rows: u32,
    width: u32,
    stride: u32,
) -> Result<Owned<sys::cublasLtMatrixLayout_t>, Error> {
    let layout = result::create_matrix_layout(kind, width.into(), rows.into(), stride.into());
    Ok(Owned(layout.map_err(failed("describing a matrix"))?, result::destroy_matrix_layout))
}

impl Library {
    /// For the GPU whose context is bound.
    ///
    /// # Errors
    /// [`Error::Device`] if it is not there, or too old.
    pub(crate) fn new() -> Result<Self, Error> {
        // SAFETY: loads a library by its name.
        if !unsafe { sys::is_culib_present() } {
            let reason = "fast_prefill: found no cublasLt, expected the library of CUDA 13.0 or newer".into();
            return Err(Error::Device { backend: NAME, reason });
        }
        // SAFETY: takes nothing.
        let version = unsafe { sys::cublasLtGetVersion() };
        if version < VERSION {
            let reason = format!("fast_prefill: found cublasLt {version}, expected {VERSION} or newer");
            return Err(Error::Device { backend: NAME, reason });
        }
        let handle = result::create_handle().map_err(failed("opening cublasLt"))?;
        Ok(Self { handle, algorithms: RefCell::default() })
    }

    /// Starts a product on a stream.
    ///
    /// # Safety
    /// Its addresses are those of memory of the bound context, as large as it says; the workspace has [`WORKSPACE`] bytes.
    pub(crate) unsafe fn product(&self, gemm: &Gemm, workspace: u64, stream: *mut c_void) -> Result<(), Error> {
        let Gemm { w, x, out, rows, columns, width, stride, out_stride, .. } = *gemm;
        let weights = layout(cudaDataType_t::CUDA_R_16BF, rows, width, stride)?;
        let activations = layout(cudaDataType_t::CUDA_R_16BF, columns, width, stride)?;
        let to = layout(cudaDataType_t::CUDA_R_32F, columns, rows, out_stride)?;
        let kind = (sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, cudaDataType_t::CUDA_R_32F);
        let product = result::create_matmul_desc(kind.0, kind.1).map_err(failed("describing a product"))?;
        let product = Owned(product, result::destroy_matmul_desc);
        // Rows of weights lie as columns: they are turned, which is operation 1.
        let turned = 1_i32;
        let attribute = cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA;
        let (value, size) = ((&raw const turned).cast(), size_of_val(&turned));
        // SAFETY: the attribute is of that type.
        unsafe { result::set_matmul_desc_attribute(product.0, attribute, value, size) }
            .map_err(failed("describing a product"))?;
        let mut algorithms = self.algorithms.borrow_mut();
        let algorithm = match algorithms.entry([rows, columns, width]) {
            std::collections::hash_map::Entry::Occupied(known) => *known.get(),
            std::collections::hash_map::Entry::Vacant(place) => {
                *place.insert(self.advice(&product, &weights, &activations, &to)?)
            }
        };
        let (one, zero) = (1.0_f32, 0.0_f32);
        // SAFETY: the caller's promise.
        unsafe {
            result::matmul(
                self.handle,
                product.0,
                (&raw const one).cast(),
                (&raw const zero).cast(),
                w as *const c_void,
                weights.0,
                x as *const c_void,
                activations.0,
                out as *const c_void,
                to.0,
                out as *mut c_void,
                to.0,
                &algorithm,
                workspace as *mut c_void,
                WORKSPACE,
                stream.cast(),
            )
        }
        .map_err(failed("a product of cublasLt"))
    }

    /// The kernel that the library advises.
    fn advice(
        &self,
        product: &Owned<sys::cublasLtMatmulDesc_t>,
        weights: &Owned<sys::cublasLtMatrixLayout_t>,
        activations: &Owned<sys::cublasLtMatrixLayout_t>,
        to: &Owned<sys::cublasLtMatrixLayout_t>,
    ) -> Result<sys::cublasLtMatmulAlgo_t, Error> {
        let preference = result::create_matmul_pref().map_err(failed("asking cublasLt for a kernel"))?;
        let preference = Owned(preference, result::destroy_matmul_pref);
        let attribute = cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
        let workspace = WORKSPACE;
        let (value, size) = ((&raw const workspace).cast(), size_of_val(&workspace));
        // SAFETY: the attribute is of that type, and all that is passed is there.
        unsafe {
            result::set_matmul_pref_attribute(preference.0, attribute, value, size)
                .and_then(|()| {
                    let (handle, product, preference) = (self.handle, product.0, preference.0);
                    result::get_matmul_algo_heuristic(handle, product, weights.0, activations.0, to.0, to.0, preference)
                })
                .map(|advice| advice.algo)
                .map_err(failed("asking cublasLt for a kernel"))
        }
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: made by the library, and destroyed once.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}
