//! The catalogue is embedded: a file that is new in it has the crate built again, too.

fn main() {
    println!("cargo:rerun-if-changed=../../catalog");
}
