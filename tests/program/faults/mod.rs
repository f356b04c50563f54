//! What fails around the program, and what must not be lost by it: the program itself, the disk, the clock.

mod clock;
mod disk;
mod kill;
mod load;
mod reader;
