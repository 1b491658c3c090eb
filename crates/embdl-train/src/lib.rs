//! Training and retraining of any graph on Burn, under constraints. Never contains code for one model.
