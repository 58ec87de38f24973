mod answers;
mod batch;
mod bonds;
mod jobs;
mod recovery;
mod retention;
mod retry;
mod upgrade;
