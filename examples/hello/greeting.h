#ifndef GREETING
#define GREETING "Hello"
#endif
