/* Wine 8 has no bcryptprimitives.dll, from which Rust's standard library takes randomness. This one stands in for it,
 * in the tests' own Wine only; Windows has its own. SystemFunction036 is RtlGenRandom. */
#include <windows.h>

BOOLEAN WINAPI SystemFunction036(PVOID buffer, ULONG bytes);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T bytes) {
	return SystemFunction036(buffer, (ULONG)bytes);
}
