//! What the backend calls of NVIDIA's driver, and of cublasLt, with the simulated GPU behind it: found under their names, it
//! lets a process run that knows nothing of a simulation. It refuses what a driver refuses: handles that it did not give,
//! threads without a context, memory outside of allocations, and anything but launches while they are captured.
//!
//! Behind a link called `libcuda.so` in a folder of `LD_LIBRARY_PATH`, `target/debug/deps/libsimulated_driver.so` also serves
//! `plimsoll run --device cuda:0`.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(non_snake_case, reason = "names are the driver's")]
#![allow(clippy::missing_safety_doc, reason = "the driver's documentation has it")]

/// Functions of NVIDIA's, with their names and arguments.
macro_rules! calls {
    ($result:ty: $($name:ident($($argument:ident: $type:ty),*) $body:block)*) => {$(
        #[unsafe(no_mangle)]
        #[doc = concat!("`", stringify!($name), "`")]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            // SAFETY: pointers are what the documentation says.
            #[allow(unused_unsafe, reason = "some calls have none")]
            unsafe { $body }
        }
    )*};
}

pub mod blas;
mod state;

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::slice;

use cudarc::driver::sys::*;

use crate::state::{Answer, MEMORY, Pending, State};

/// The GPU, its context and the stream; functions and graphs are counted from here on.
const DEVICE: CUdevice = 0;
const CONTEXT: usize = 1;
pub(crate) const STREAM: usize = 2;
const MODULE: usize = 3;
const HANDLES: usize = 16;
/// How images of kernels begin.
const IMAGE: [u8; 4] = 0xba55_ed50_u32.to_le_bytes();
const NAME: &CStr = c"Simulated GPU";
const UUID: &[u8; 16] = b"plimsoll's, fake";
/// Shared memory of a block as an H200 has it: what any kernel gets, and what one does that was allowed more.
const SHARED: usize = 48 << 10;
pub(crate) const SHARED_MOST: usize = 227 << 10;
pub(crate) const MULTIPROCESSORS: usize = 2;

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

fn code(answer: Answer) -> CUresult {
    answer.err().unwrap_or(CUresult::CUDA_SUCCESS)
}

fn when(holds: bool, error: CUresult) -> Answer {
    if holds { Ok(()) } else { Err(error) }
}

/// Of calls that need a context.
fn in_context(run: impl FnOnce(&mut State) -> Answer) -> CUresult {
    code(when(CURRENT.get() == CONTEXT, CUresult::CUDA_ERROR_INVALID_CONTEXT).and_then(|()| run(&mut state::lock())))
}

/// Of calls that besides must not be captured.
fn at_once(run: impl FnOnce(&mut State) -> Answer) -> CUresult {
    in_context(|state| {
        when(state.captured.is_none(), CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)?;
        run(state)
    })
}

fn known(handle: usize, expected: usize) -> Answer {
    when(handle == expected, CUresult::CUDA_ERROR_INVALID_HANDLE)
}

/// Of a function or a graph, whatever the handle is.
fn number<T>(handle: *mut T) -> usize {
    (handle as usize).wrapping_sub(HANDLES)
}

/// Writes what was asked for.
///
/// # Safety
/// There is nothing or room for it.
pub(crate) unsafe fn put<T>(to: *mut T, value: T) -> Answer {
    when(!to.is_null(), CUresult::CUDA_ERROR_INVALID_VALUE)?;
    // SAFETY: the caller's promise.
    unsafe { to.write(value) };
    Ok(())
}

calls! { CUresult:
    cuInit(flags: c_uint) { code(when(flags == 0, CUresult::CUDA_ERROR_INVALID_VALUE)) }
    cuDriverGetVersion(version: *mut c_int) { code(put(version, 13_000)) }
    cuDeviceGetCount(count: *mut c_int) { code(put(count, 1)) }
    cuDeviceGet(device: *mut CUdevice, number: c_int) {
        code(when(number == 0, CUresult::CUDA_ERROR_INVALID_DEVICE).and_then(|()| put(device, DEVICE)))
    }
    cuDeviceGetName(name: *mut c_char, len: c_int, _device: CUdevice) {
        let bytes = NAME.to_bytes_with_nul();
        let room = when(len as usize >= bytes.len(), CUresult::CUDA_ERROR_INVALID_VALUE);
        code(room.map(|()| ptr::copy_nonoverlapping(bytes.as_ptr().cast(), name, bytes.len())))
    }
    cuDeviceGetUuid_v2(uuid: *mut CUuuid, _device: CUdevice) {
        code(put(uuid, CUuuid { bytes: UUID.map(|byte| byte as c_char) }))
    }
    cuDeviceTotalMem_v2(bytes: *mut usize, _device: CUdevice) { code(put(bytes, MEMORY)) }
    cuDeviceGetAttribute(value: *mut c_int, attribute: CUdevice_attribute, device: CUdevice) {
        use CUdevice_attribute_enum::*;
        let found = match attribute {
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR => 9,
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR => 0,
            CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT => MULTIPROCESSORS,
            CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN => SHARED_MOST,
            CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED => 1,
            _ => return CUresult::CUDA_ERROR_INVALID_VALUE,
        };
        let known = when(device == DEVICE, CUresult::CUDA_ERROR_INVALID_DEVICE);
        code(known.and_then(|()| put(value, found as c_int)))
    }

    cuDevicePrimaryCtxRetain(context: *mut CUcontext, _device: CUdevice) { code(put(context, CONTEXT as CUcontext)) }
    cuDevicePrimaryCtxRelease_v2(_device: CUdevice) { CUresult::CUDA_SUCCESS }
    cuCtxGetCurrent(context: *mut CUcontext) { code(put(context, CURRENT.get() as CUcontext)) }
    cuCtxSetCurrent(context: CUcontext) {
        CURRENT.set(context as usize);
        code(when(context as usize <= CONTEXT, CUresult::CUDA_ERROR_INVALID_CONTEXT))
    }
    cuCtxSynchronize() { at_once(|_| Ok(())) }
    cuStreamCreate(stream: *mut CUstream, _flags: c_uint) { in_context(|_| put(stream, STREAM as CUstream)) }
    cuStreamSynchronize(stream: CUstream) { at_once(|_| known(stream as usize, STREAM)) }
    cuStreamDestroy_v2(stream: CUstream) { in_context(|_| known(stream as usize, STREAM)) }

    cuMemGetInfo_v2(free: *mut usize, total: *mut usize) {
        in_context(|state| put(free, state.free()).and_then(|()| put(total, MEMORY)))
    }
    cuMemAlloc_v2(address: *mut CUdeviceptr, bytes: usize) {
        at_once(|state| put(address, state.allocate(bytes)?))
    }
    cuMemFree_v2(address: CUdeviceptr) { at_once(|state| state.free_at(address)) }
    cuMemcpyHtoDAsync_v2(to: CUdeviceptr, from: *const c_void, bytes: usize, stream: CUstream) {
        at_once(|state| {
            known(stream as usize, STREAM)?;
            state.write(to, slice::from_raw_parts(from.cast(), bytes))
        })
    }
    cuMemcpyDtoHAsync_v2(to: *mut c_void, from: CUdeviceptr, bytes: usize, stream: CUstream) {
        at_once(|state| {
            known(stream as usize, STREAM)?;
            state.read(from, slice::from_raw_parts_mut(to.cast(), bytes))
        })
    }
    cuMemcpyDtoDAsync_v2(to: CUdeviceptr, from: CUdeviceptr, bytes: usize, stream: CUstream) {
        at_once(|state| {
            known(stream as usize, STREAM)?;
            let mut all = vec![0; bytes];
            state.read(from, &mut all)?;
            state.write(to, &all)
        })
    }

    cuModuleLoadData(module: *mut CUmodule, image: *const c_void) {
        let image: [u8; 4] = image.cast::<[u8; 4]>().read();
        in_context(|_| {
            when(image == IMAGE, CUresult::CUDA_ERROR_INVALID_IMAGE)?;
            put(module, MODULE as CUmodule)
        })
    }
    cuModuleLoad(module: *mut CUmodule, file: *const c_char) {
        in_context(|_| {
            let name = CStr::from_ptr(file).to_str().map_err(|_| CUresult::CUDA_ERROR_INVALID_VALUE)?;
            let image = std::fs::read(name).map_err(|_| CUresult::CUDA_ERROR_FILE_NOT_FOUND)?;
            when(image.starts_with(&IMAGE), CUresult::CUDA_ERROR_INVALID_IMAGE)?;
            put(module, MODULE as CUmodule)
        })
    }
    cuModuleUnload(module: CUmodule) { at_once(|_| known(module as usize, MODULE)) }
    cuModuleGetFunction(function: *mut CUfunction, module: CUmodule, name: *const c_char) {
        in_context(|state| {
            known(module as usize, MODULE)?;
            put(function, (HANDLES + state.function(CStr::from_ptr(name), SHARED)?) as CUfunction)
        })
    }
    cuFuncSetAttribute(function: CUfunction, attribute: CUfunction_attribute, value: c_int) {
        in_context(|state| {
            let limit = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let fits = attribute == limit && value as usize <= SHARED_MOST;
            when(fits, CUresult::CUDA_ERROR_INVALID_VALUE)?;
            state.of(number(function))?.shared = value as usize;
            Ok(())
        })
    }
    cuFuncGetAttribute(value: *mut c_int, attribute: CUfunction_attribute, function: CUfunction) {
        in_context(|state| {
            state.of(number(function))?;
            let version = CUfunction_attribute::CU_FUNC_ATTRIBUTE_PTX_VERSION;
            when(attribute == version, CUresult::CUDA_ERROR_INVALID_VALUE)?;
            put(value, 90)
        })
    }
    cuFuncGetParamInfo(function: CUfunction, index: usize, offset: *mut usize, bytes: *mut usize) {
        in_context(|state| {
            when(index == 0, CUresult::CUDA_ERROR_INVALID_VALUE)?;
            put(offset, 0)?;
            put(bytes, state.of(number(function))?.params)
        })
    }
    cuLaunchKernelEx(config: *const CUlaunchConfig, function: CUfunction, params: *mut *mut c_void, extra: *mut *mut c_void) {
        in_context(|state| {
            let config = &*config;
            known(config.hStream as usize, STREAM)?;
            // The one attribute that the backend sets.
            let overlap = CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
            let all = if config.numAttrs == 0 { &[] } else { slice::from_raw_parts(config.attrs, config.numAttrs as usize) };
            let meant = all.iter().all(|one| one.id == overlap && one.value.programmaticStreamSerializationAllowed == 1);
            let CUlaunchConfig { gridDimX: x, gridDimY: y, gridDimZ: z, blockDimX: threads, sharedMemBytes: shared, .. } = *config;
            let flat = config.blockDimY == 1 && config.blockDimZ == 1 && y < 1 << 16 && z < 1 << 16 && x > 0 && y > 0 && z > 0;
            when(meant && flat && extra.is_null(), CUresult::CUDA_ERROR_INVALID_VALUE)?;
            let function = state.of(number(function))?;
            when(shared as usize <= function.shared, CUresult::CUDA_ERROR_INVALID_VALUE)?;
            let params = slice::from_raw_parts((*params).cast::<u8>(), function.params).to_vec();
            let launch = Pending { kernel: function.kernel, grid: [x, y, z], threads, shared, params };
            match &mut state.captured {
                Some(captured) => captured.push(launch),
                None => state.start(&launch)?,
            }
            Ok(())
        })
    }

    cuStreamBeginCapture_v2(stream: CUstream, _mode: CUstreamCaptureMode) {
        at_once(|state| {
            known(stream as usize, STREAM)?;
            state.captured = Some(vec![]);
            Ok(())
        })
    }
    cuStreamEndCapture(stream: CUstream, graph: *mut CUgraph) {
        in_context(|state| {
            known(stream as usize, STREAM)?;
            let launches = state.captured.take().ok_or(CUresult::CUDA_ERROR_ILLEGAL_STATE)?;
            put(graph, (HANDLES + state.keep(launches)) as CUgraph)
        })
    }
    cuGraphInstantiateWithFlags(exec: *mut CUgraphExec, graph: CUgraph, _flags: u64) {
        in_context(|state| {
            let launches = state.graph(number(graph))?.to_vec();
            put(exec, (HANDLES + state.keep(launches)) as CUgraphExec)
        })
    }
    cuGraphLaunch(exec: CUgraphExec, stream: CUstream) {
        at_once(|state| {
            known(stream as usize, STREAM)?;
            let launches = state.graph(number(exec))?.to_vec();
            launches.iter().try_for_each(|launch| state.start(launch))
        })
    }
    cuGraphExecDestroy(exec: CUgraphExec) { code(state::lock().drop_graph(number(exec))) }
    cuGraphDestroy(graph: CUgraph) { code(state::lock().drop_graph(number(graph))) }

    cuGetErrorName(_error: CUresult, text: *mut *const c_char) { code(put(text, c"of the simulated driver".as_ptr())) }
    cuGetErrorString(_error: CUresult, text: *mut *const c_char) { code(put(text, c"see its number".as_ptr())) }
}
