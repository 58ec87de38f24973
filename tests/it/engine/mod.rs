mod jobs;
mod recovery;
