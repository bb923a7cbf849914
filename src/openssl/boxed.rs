//! Values on the heap, for those who can do without: `Box::new` would abort the server without memory.
//! No locks.

/// A value on the heap; `None` without memory.
pub fn try_new<T>(value: T) -> Option<Box<T>> {
    let mut place = Vec::new();
    place.try_reserve_exact(1).ok()?;
    place.push(value);
    let boxed: Box<[T; 1]> = place.into_boxed_slice().try_into().ok()?;
    // SAFETY: an array of one value has the layout of the value.
    Some(unsafe { Box::from_raw(Box::into_raw(boxed).cast()) })
}
