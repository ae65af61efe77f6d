//! What the tests' builds start as their sandbox child, in the place of rbuild itself.

fn main() {
    rbuild_executor::run_child_if_asked();
}
