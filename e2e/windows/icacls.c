/* Stands in for icacls.exe under Wine, whose own does nothing: it writes what it was told to C:\icacls.log, and says
 * that it was done. */
#include <stdio.h>
#include <windows.h>

int main(void) {
	char line[8192];
	FILE *log = fopen("C:\\icacls.log", "ab");
	if (!log || !WideCharToMultiByte(CP_UTF8, 0, GetCommandLineW(), -1, line, sizeof line, NULL, NULL)) return 1;
	return fprintf(log, "%s\n", line) < 0 || fclose(log) != 0;
}
