mod answers;
mod jobs;
mod recovery;
mod retention;
mod retry;
mod upgrade;
