//! Files and uploads on the disk.

use rivulet::domain::id::{FileId, Scope};
use rivulet::domain::page::{ListPage, ListQuery};
use rivulet::domain::time::Time;
use rivulet::engine::ports::{
    Answered, Appended, Files, Finished, StoredChunk, StoredFile, StoredUpload,
};

use super::lists::{holds, owned, page};
use super::shelf::Shelf;

/// The oldest ends of those that are over by then.
fn over<'a, T: 'a>(
    all: impl Iterator<Item = (&'a (String, FileId), &'a T)>,
    end: impl Fn(&T) -> Option<Time>,
    expired: Time,
    limit: u32,
) -> Vec<(Scope, FileId)> {
    let ends = all.filter_map(|(key, item)| Some((end(item)?, key)));
    let mut old: Vec<_> = ends.filter(|(end, _)| *end <= expired).collect();
    old.sort();
    old.truncate(limit as usize);
    old.iter()
        .map(|(_, (scope, id))| (Scope::new(scope), *id))
        .collect()
}

impl Files for Shelf {
    fn insert_file(&self, scope: &Scope, file: StoredFile) -> Answered<'_, ()> {
        self.done(|disk| drop(disk.files.insert(owned(scope, file.id), file)))
    }

    fn file(&self, scope: &Scope, id: FileId) -> Answered<'_, Option<StoredFile>> {
        self.done(|disk| disk.files.get(&owned(scope, id)).cloned())
    }

    fn files(
        &self,
        scope: &Scope,
        now: Time,
        query: ListQuery,
    ) -> Answered<'_, ListPage<StoredFile>> {
        self.done(|disk| {
            let listed = disk.files.iter().filter(|((owner, _), file)| {
                owner == scope.as_str()
                    && holds(&file.name, query.search.as_deref())
                    && file.expires_at.is_none_or(|end| now < end)
            });
            let listed = listed.map(|(_, file)| file.clone()).collect();
            page(listed, |file: &StoredFile| file.id.0, &query)
        })
    }

    fn delete_file(&self, scope: &Scope, id: FileId) -> Answered<'_, Option<StoredFile>> {
        self.done(|disk| disk.files.remove(&owned(scope, id)))
    }

    fn files_before(&self, expired: Time, limit: u32) -> Answered<'_, Vec<(Scope, FileId)>> {
        self.done(|disk| over(disk.files.iter(), |file| file.expires_at, expired, limit))
    }

    fn insert_upload(&self, scope: &Scope, upload: StoredUpload, limit: u32) -> Answered<'_, bool> {
        self.done(|disk| {
            let own = disk.uploads.iter().filter(|((owner, _), (open, _))| {
                owner == scope.as_str() && upload.updated_at < open.expires_at
            });
            let has_room = own.count() < limit as usize;
            if has_room {
                let key = owned(scope, upload.id);
                disk.uploads.insert(key, (upload, Vec::new()));
            }
            has_room
        })
    }

    fn upload(&self, scope: &Scope, id: FileId) -> Answered<'_, Option<StoredUpload>> {
        self.done(|disk| {
            let found = disk.uploads.get(&owned(scope, id));
            found.map(|(upload, _)| upload.clone())
        })
    }

    fn chunks(&self, scope: &Scope, id: FileId) -> Answered<'_, Vec<StoredChunk>> {
        self.done(|disk| {
            let found = disk.uploads.get(&owned(scope, id));
            found.map(|(_, chunks)| chunks.clone()).unwrap_or_default()
        })
    }

    fn append_chunk(
        &self,
        scope: &Scope,
        id: FileId,
        chunk: StoredChunk,
        now: Time,
    ) -> Answered<'_, Appended> {
        self.done(|disk| {
            let Some((upload, chunks)) = disk.uploads.get_mut(&owned(scope, id)) else {
                return Appended::Missing;
            };
            if upload.received != chunk.offset {
                let there = chunks.iter().find(|there| there.offset == chunk.offset);
                return Appended::Elsewhere(upload.clone(), there.cloned());
            }
            upload.received += chunk.size;
            upload.updated_at = now;
            chunks.push(chunk);
            Appended::Stored(upload.clone())
        })
    }

    fn finish_upload(&self, scope: &Scope, file: StoredFile) -> Answered<'_, Finished> {
        self.done(|disk| {
            let key = owned(scope, file.id);
            match disk.uploads.get(&key) {
                None => Finished::Missing,
                Some((upload, _)) if upload.received != file.size => Finished::Changed,
                Some(_) => {
                    disk.uploads.remove(&key);
                    disk.files.insert(key, file);
                    Finished::Stored
                }
            }
        })
    }

    fn delete_upload(&self, scope: &Scope, id: FileId) -> Answered<'_, Option<Vec<StoredChunk>>> {
        self.done(|disk| {
            let gone = disk.uploads.remove(&owned(scope, id));
            gone.map(|(_, chunks)| chunks)
        })
    }

    fn uploads_before(&self, expired: Time, limit: u32) -> Answered<'_, Vec<(Scope, FileId)>> {
        self.done(|disk| {
            let end = |(upload, _): &(StoredUpload, Vec<StoredChunk>)| Some(upload.expires_at);
            over(disk.uploads.iter(), end, expired, limit)
        })
    }

    fn has_upload(&self, id: FileId) -> Answered<'_, bool> {
        self.done(|disk| disk.uploads.keys().any(|(_, of)| *of == id))
    }
}
