// What our programs do when there is no memory: say so in one line and end at once, with a code of their own. Nothing is
// unwound and nobody's destructor runs, because each of them may need memory again: to the disk and to the peers it is
// what kill -9 is, which broker, clients and workers are made for.
//
// Covers operator new, of any thread and of the libraries too. malloc stays as it is: LMDB reports its failure (the broker
// then ends as it does when the disk fails), and ZeroMQ ends the process with a line of its own and SIGABRT.
#pragma once

namespace jobq {

// Once, at the start of main(). `line`: what is written to stderr, with its newline; must live for ever.
void end_when_out_of_memory(const char* line, int exit_code);

// The same end, for who has caught a std::bad_alloc: libraries throw it by themselves when their malloc fails.
// REQUIRES: end_when_out_of_memory was called.
[[noreturn]] void end_out_of_memory();

}  // namespace jobq
