mod documents;
mod stream;
mod uploads;
