//! Tags come and go; each way of doing it moves other clocks.
//!
//! A global tag on an attribute moves both clocks and unpublishes, except when it is taken off in the web interface: that
//! moves nothing. A global tag on an event moves the event's clock only. Local tags, renaming and deleting a tag move
//! nothing at all.

use super::world::{Attached, World};

/// Which way a tag is taken off an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// `/tags/removeTagFromObject`.
    Api,
    /// `/attributes/removeTag`, the button of the web interface.
    Ui,
}

impl World {
    /// Puts a tag on an attribute; nothing happens if it is there already.
    pub fn tag_attribute(&mut self, attribute: u64, name: &str, local: bool) {
        let tag = self.add_tag(name);
        let row = self.attribute_mut(attribute);
        if row.tags.iter().any(|attached| attached.tag == tag) {
            return;
        }
        row.tags.push(Attached { tag, local });
        if !local {
            self.change_attribute(attribute, |_| ());
        }
    }

    /// Takes a tag off an attribute; nothing happens if it is not there.
    pub fn untag_attribute(&mut self, attribute: u64, name: &str, via: Via) {
        let Some(taken_off) = self.tag_id(name).and_then(|tag| take(&mut self.attribute_mut(attribute).tags, tag))
        else {
            return;
        };
        if !taken_off.local && via == Via::Api {
            self.change_attribute(attribute, |_| ());
        }
    }

    /// Puts a tag on an event; nothing happens if it is there already.
    pub fn tag_event(&mut self, event: u64, name: &str, local: bool) {
        let tag = self.add_tag(name);
        let tags = &mut self.event_mut(event).tags;
        if tags.iter().any(|attached| attached.tag == tag) {
            return;
        }
        tags.push(Attached { tag, local });
        if !local {
            self.edited(event);
        }
    }

    /// Takes a tag off an event; nothing happens if it is not there.
    pub fn untag_event(&mut self, event: u64, name: &str) {
        let taken_off = self.tag_id(name).and_then(|tag| take(&mut self.event_mut(event).tags, tag));
        if taken_off.is_some_and(|attached| !attached.local) {
            self.edited(event);
        }
    }

    /// Gives a tag another name, wherever it is.
    pub fn rename_tag(&mut self, from: &str, to: &str) {
        let id = self.tag_id(from).unwrap_or_else(|| panic!("no tag {from}"));
        self.tags.get_mut(&id).expect("just found").name = to.into();
    }

    /// Removes a tag from the server and from everything it is on.
    pub fn delete_tag(&mut self, name: &str) {
        let id = self.tag_id(name).unwrap_or_else(|| panic!("no tag {name}"));
        self.tags.remove(&id);
        for event in self.events.values_mut() {
            take(&mut event.tags, id);
            event.attributes.values_mut().for_each(|row| row.tags.retain(|attached| attached.tag != id));
        }
    }
}

fn take(tags: &mut Vec<Attached>, tag: u64) -> Option<Attached> {
    let at = tags.iter().position(|attached| attached.tag == tag)?;
    Some(tags.remove(at))
}
