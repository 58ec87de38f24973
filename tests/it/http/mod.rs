mod bombs;
mod documents;
mod schemas;
mod stream;
mod uploads;
