//! Training on this machine: labelled texts in, a file of weights out.
//!
//! [`TrainingSet::train`] fits a softmax regression to rows of features, [`TrainingSet::calibrated`] turns its
//! scores into probabilities. Whatever the number of threads, and on whatever x86-64 machine, the same rows
//! give the same bytes: every sum has one order, and only operations that IEEE 754 defines to the bit are used.

mod calibration;
mod lbfgs;
mod linear;
mod rows;
mod softmax;
mod training;

pub use rows::Rows;
pub use training::{Chosen, Labels, TrainingSet};
