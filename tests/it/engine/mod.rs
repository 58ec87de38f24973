mod jobs;
mod recovery;
mod retention;
