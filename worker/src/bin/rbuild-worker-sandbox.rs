//! The tests' stand-in for rbuild: a program that can be a sandbox child.

fn main() {
    rbuild_executor::run_child_if_asked();
}
