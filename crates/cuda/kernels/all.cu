// Everything in one module.
#include "attend.cu"
#include "attend_tile.cu"
#include "matvec.cu"
#include "round.cu"
#include "rows.cu"
#include "tile.cu"
#include "top.cu"
#include "widen.cu"
