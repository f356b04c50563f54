//! What fails around the program, and what must not be lost by it: the program itself, the disk, the clock.

mod backup;
mod clock;
mod cluster;
mod disk;
mod kill;
mod load;
mod reader;
mod redis;
mod releases;
mod source;
mod waiting;
