//! Kernels of the prover behind one interface: transforms, multi-scalar multiplication, batch inversion, mapped files.
