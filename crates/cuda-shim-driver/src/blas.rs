//! What the backend calls of NVIDIA's library for products of matrices: one product, by a kernel of the simulation.

use std::ffi::{c_int, c_void};

use cudarc::cublaslt::sys::*;
use cudarc::driver::sys::CUresult;
use plimsoll_cuda::Gemm;

use crate::state::{self, Pending};
use crate::{STREAM, put};

/// What a matrix of the library is: columns first, `ld` values from one to the next.
struct Layout {
    kind: cudaDataType,
    rows: u64,
    columns: u64,
    ld: i64,
}

/// Whether the first matrix of a product is turned.
struct Product {
    turned: bool,
}

/// What stands for the library and for what a kernel is asked for.
const HANDLE: usize = 5;
/// `CUBLAS_OP_T`
const TURNED: i32 = 1;

type Answer<T = ()> = Result<T, cublasStatus_t>;

fn status(answer: Answer) -> cublasStatus_t {
    answer.err().unwrap_or(cublasStatus_t::CUBLAS_STATUS_SUCCESS)
}

fn when(holds: bool) -> Answer {
    if holds { Ok(()) } else { Err(cublasStatus_t::CUBLAS_STATUS_INVALID_VALUE) }
}

/// # Safety
/// As for [`put`].
unsafe fn give<T>(to: *mut T, value: T) -> cublasStatus_t {
    // SAFETY: the caller's promise.
    status(unsafe { put(to, value) }.map_err(|_| cublasStatus_t::CUBLAS_STATUS_INVALID_VALUE))
}

/// A product of the one kind that there is a kernel for.
///
/// # Safety
/// The layouts were made here, and are there still.
unsafe fn gemm(
    product: cublasLtMatmulDesc_t,
    [a, b, c, d]: [cublasLtMatrixLayout_t; 4],
    addresses: [u64; 3],
) -> Answer<Gemm> {
    // SAFETY: the caller's promise.
    let (product, [a, b, c, d]) =
        unsafe { (&*product.cast::<Product>(), [a, b, c, d].map(|layout| &*layout.cast::<Layout>())) };
    let kinds = [a, b, c, d].map(|layout| layout.kind);
    let (half, full) = (cudaDataType_t::CUDA_R_16BF, cudaDataType_t::CUDA_R_32F);
    when(product.turned && kinds == [half, half, full, full])?;
    when(a.rows == b.rows && (a.columns, b.columns) == (d.rows, d.columns) && (c.rows, c.ld) == (d.rows, d.ld))?;
    when(a.ld == b.ld && a.ld as u64 >= a.rows && d.ld as u64 >= d.rows)?;
    let [w, x, out] = addresses;
    let [rows, columns, width, stride, out_stride] =
        [d.rows, d.columns, a.rows, a.ld as u64, d.ld as u64].map(|number| number as u32);
    Ok(Gemm { w, x, out, rows, columns, width, stride, out_stride, padding: 0 })
}

/// `cublasLtGetVersion`
#[unsafe(no_mangle)]
pub extern "C" fn cublasLtGetVersion() -> usize {
    130_000
}

calls! { cublasStatus_t:
    cublasLtCreate(handle: *mut cublasLtHandle_t) { give(handle, HANDLE as cublasLtHandle_t) }
    cublasLtDestroy(handle: cublasLtHandle_t) { status(when(handle as usize == HANDLE)) }

    cublasLtMatrixLayoutCreate(layout: *mut cublasLtMatrixLayout_t, kind: cudaDataType, rows: u64, columns: u64, ld: i64) {
        give(layout, Box::into_raw(Box::new(Layout { kind, rows, columns, ld })).cast())
    }
    cublasLtMatrixLayoutDestroy(layout: cublasLtMatrixLayout_t) {
        drop(Box::from_raw(layout.cast::<Layout>()));
        cublasStatus_t::CUBLAS_STATUS_SUCCESS
    }
    cublasLtMatmulDescCreate(product: *mut cublasLtMatmulDesc_t, computed: cublasComputeType_t, scale: cudaDataType_t) {
        let known = computed == cublasComputeType_t::CUBLAS_COMPUTE_32F && scale == cudaDataType_t::CUDA_R_32F;
        match when(known) {
            Ok(()) => give(product, Box::into_raw(Box::new(Product { turned: false })).cast()),
            error => status(error),
        }
    }
    cublasLtMatmulDescDestroy(product: cublasLtMatmulDesc_t) {
        drop(Box::from_raw(product.cast::<Product>()));
        cublasStatus_t::CUBLAS_STATUS_SUCCESS
    }
    cublasLtMatmulDescSetAttribute(
        product: cublasLtMatmulDesc_t, attribute: cublasLtMatmulDescAttributes_t, value: *const c_void, bytes: usize
    ) {
        let turn = cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA;
        status(when(attribute == turn && bytes == 4).map(|()| {
            (*product.cast::<Product>()).turned = *value.cast::<i32>() == TURNED;
        }))
    }
    cublasLtMatmulPreferenceCreate(preference: *mut cublasLtMatmulPreference_t) {
        give(preference, HANDLE as cublasLtMatmulPreference_t)
    }
    cublasLtMatmulPreferenceDestroy(preference: cublasLtMatmulPreference_t) { status(when(preference as usize == HANDLE)) }
    cublasLtMatmulPreferenceSetAttribute(
        preference: cublasLtMatmulPreference_t, attribute: cublasLtMatmulPreferenceAttributes_t, value: *const c_void, bytes: usize
    ) {
        let workspace = cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
        status(when(preference as usize == HANDLE && attribute == workspace && bytes == 8 && !value.is_null()))
    }
    cublasLtMatmulAlgoGetHeuristic(
        handle: cublasLtHandle_t, product: cublasLtMatmulDesc_t, a: cublasLtMatrixLayout_t, b: cublasLtMatrixLayout_t,
        c: cublasLtMatrixLayout_t, d: cublasLtMatrixLayout_t, _preference: cublasLtMatmulPreference_t, wanted: c_int,
        results: *mut cublasLtMatmulHeuristicResult_t, found: *mut c_int
    ) {
        let found_one = when(handle as usize == HANDLE && wanted > 0).and_then(|()| {
            gemm(product, [a, b, c, d], [0; 3])?;
            results.write(std::mem::zeroed());
            found.write(1);
            Ok(())
        });
        status(found_one)
    }
    cublasLtMatmul(
        handle: cublasLtHandle_t, product: cublasLtMatmulDesc_t, alpha: *const c_void, a: *const c_void,
        a_layout: cublasLtMatrixLayout_t, b: *const c_void, b_layout: cublasLtMatrixLayout_t, beta: *const c_void, c: *const c_void,
        c_layout: cublasLtMatrixLayout_t, d: *mut c_void, d_layout: cublasLtMatrixLayout_t, _algorithm: *const cublasLtMatmulAlgo_t,
        _workspace: *mut c_void, _bytes: usize, stream: cudaStream_t
    ) {
        let (one, zero) = (*alpha.cast::<f32>(), *beta.cast::<f32>());
        let plain = handle as usize == HANDLE && stream as usize == STREAM && (one, zero) == (1.0, 0.0) && c == d.cast_const();
        let started = when(plain).and_then(|()| {
            let gemm = gemm(product, [a_layout, b_layout, c_layout, d_layout], [a as u64, b as u64, d as u64])?;
            let bytes: [u8; size_of::<Gemm>()] = std::mem::transmute(gemm);
            let (grid, params) = ([gemm.columns, 1, 1], bytes.to_vec());
            let launch = Pending { kernel: "library_gemm", grid, threads: 32, shared: 0, params };
            let started = match state::lock() {
                state if state.captured.is_some() => Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED),
                state => state.start(&launch),
            };
            started.map_err(|_| cublasStatus_t::CUBLAS_STATUS_EXECUTION_FAILED)
        });
        status(started)
    }
}
