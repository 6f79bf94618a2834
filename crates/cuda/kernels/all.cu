// Everything in one module.
#include "attend.cu"
#include "matvec.cu"
#include "rows.cu"
