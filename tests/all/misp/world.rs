//! What the scripted MISP knows, all of it open: a test reads and changes every member directly, or goes through the
//! actions, which move the clocks as the server does.

use std::collections::BTreeMap;

use super::identity::{Key, Organisation, User};
use super::warninglists::{Hit, Warninglist};

/// The whole state of a server.
pub struct World {
    /// The server's clock in Unix seconds; it stands still unless a test moves it.
    pub now: i64,
    pub settings: Settings,
    pub organisations: BTreeMap<u64, Organisation>,
    pub users: BTreeMap<u64, User>,
    /// By the key itself: 40 letters and digits.
    pub keys: BTreeMap<String, Key>,
    pub tags: BTreeMap<u64, Tag>,
    pub events: BTreeMap<u64, Event>,
    pub warninglists: BTreeMap<u64, Warninglist>,
    pub(super) counters: Counters,
    /// Searches per user in the running quarter of an hour: its start and how many.
    pub(super) searches: BTreeMap<u64, (i64, u64)>,
}

/// The last number given out of each kind. A deleted row's number never comes back.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    pub event: u64,
    pub attribute: u64,
    pub tag: u64,
    pub object: u64,
    pub sighting: u64,
    pub warninglist: u64,
    pub uuid: u64,
}

/// The server's configuration, as far as it changes answers.
pub struct Settings {
    pub version: String,
    /// Everybody but site administrators is sent to the login page.
    pub maintenance: bool,
    /// Unpublished events are visible to their own organisation only.
    pub unpublishedprivate: bool,
    /// PHP's memory limit in MB; 50 rows per MB are the cap of one read from the database.
    pub memory_mb: f64,
    /// More rows than this in one answer, without `enforceWarninglist`, end in "out of memory".
    pub memory_rows: Option<usize>,
    /// Values that are cut out of every page, uncounted.
    pub allowedlist: Vec<Allowed>,
    pub default_order: Order,
    pub result_count: ResultCount,
    /// Servers before 2.4.196 do not send `X-Skipped-Elements-Count`.
    pub skipped_header: bool,
    /// Ids and times as JSON numbers, as with another database flag.
    pub numeric_ids: bool,
    /// The web server in front compresses when asked.
    pub gzip: bool,
    /// `warnings` for rows with `to_ids: false` too.
    pub warning_for_all: bool,
}

/// One entry of the administrator's allowedlist.
pub enum Allowed {
    /// Values with this text in them.
    Containing(String),
    /// Values for which this is true.
    Test(Box<dyn Fn(&str) -> bool + Send>),
}

impl Allowed {
    /// Whether the value is cut out.
    pub fn removes(&self, value: &str) -> bool {
        match self {
            Self::Containing(text) => value.contains(text),
            Self::Test(test) => test(value),
        }
    }
}

/// The order of rows when the request names none: the query plan's, so anything repeatable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Id,
    Event,
    Timestamp,
    Random,
}

/// What `X-Result-Count` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultCount {
    /// The page (2.4.196 and later).
    Page,
    /// This page and those before it (2.4.166 to 2.4.195).
    Cumulative,
    /// All rows that match (before 2.4.166).
    Total,
}

/// A tag of the server.
#[derive(Clone, Debug)]
pub struct Tag {
    pub id: u64,
    pub name: String,
    pub colour: String,
    /// Not shown without `includeAllTags` when false; filters match it all the same.
    pub exportable: bool,
    pub is_galaxy: bool,
}

/// A tag on an event or an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    pub tag: u64,
    pub local: bool,
}

/// An event with its attributes.
#[derive(Clone, Debug)]
pub struct Event {
    pub id: u64,
    pub uuid: String,
    pub info: String,
    /// The organisation it belongs to on this server.
    pub org_id: u64,
    /// The organisation that created it; what the filter `org` means.
    pub orgc_id: u64,
    pub date: String,
    pub distribution: u8,
    pub sharing_group_id: u64,
    pub threat_level_id: u8,
    pub analysis: u8,
    pub extends_uuid: String,
    pub published: bool,
    pub timestamp: i64,
    pub publish_timestamp: i64,
    pub sighting_timestamp: i64,
    pub tags: Vec<Attached>,
    pub attributes: BTreeMap<u64, Attribute>,
}

/// One attribute.
#[derive(Clone, Debug)]
pub struct Attribute {
    pub id: u64,
    pub uuid: String,
    pub category: String,
    /// Its `type`.
    pub kind: String,
    pub value: String,
    pub comment: String,
    pub to_ids: bool,
    pub timestamp: i64,
    /// 5: as its event.
    pub distribution: u8,
    pub sharing_group_id: u64,
    pub deleted: bool,
    pub disable_correlation: bool,
    pub first_seen: Option<String>,
    pub last_seen: Option<String>,
    pub object: Option<Object>,
    pub tags: Vec<Attached>,
    pub sightings: Vec<Sighting>,
    /// The warninglists a real server found it on, in a recorded data set.
    pub recorded_hits: Vec<Hit>,
    /// It was on one, even if the data set does not say on which.
    pub recorded_wl: bool,
}

/// The object an attribute is part of.
#[derive(Clone, Debug)]
pub struct Object {
    pub id: u64,
    pub relation: String,
    pub distribution: u8,
    pub sharing_group_id: u64,
}

/// Somebody saw an attribute.
#[derive(Clone, Debug)]
pub struct Sighting {
    pub id: u64,
    pub uuid: String,
    pub org_id: u64,
    pub date: i64,
    /// 0: seen, 1: a false positive.
    pub kind: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: "2.5.1".into(),
            maintenance: false,
            unpublishedprivate: false,
            memory_mb: 2048.0,
            memory_rows: None,
            allowedlist: Vec::new(),
            default_order: Order::Id,
            result_count: ResultCount::Page,
            skipped_header: true,
            numeric_ids: false,
            gzip: false,
            warning_for_all: false,
        }
    }
}

impl Default for World {
    /// Two organisations, a site administrator, a read-only user of the other organisation, a key for each, and nothing
    /// else.
    fn default() -> Self {
        let mut world = Self {
            now: 1_795_000_000,
            settings: Settings::default(),
            organisations: BTreeMap::new(),
            users: BTreeMap::new(),
            keys: BTreeMap::new(),
            tags: BTreeMap::new(),
            events: BTreeMap::new(),
            warninglists: BTreeMap::new(),
            counters: Counters::default(),
            searches: BTreeMap::new(),
        };
        world.found();
        world
    }
}

impl World {
    /// Moves the server's clock on.
    pub fn advance(&mut self, seconds: i64) {
        self.now += seconds;
    }

    /// The event of this id.
    pub fn event(&self, id: u64) -> &Event {
        self.events.get(&id).unwrap_or_else(|| panic!("no event {id}"))
    }

    /// The event of this id, to be changed without moving a clock.
    pub fn event_mut(&mut self, id: u64) -> &mut Event {
        self.events.get_mut(&id).unwrap_or_else(|| panic!("no event {id}"))
    }

    /// The attribute of this id.
    pub fn attribute(&self, id: u64) -> &Attribute {
        let found = self.events.values().find_map(|event| event.attributes.get(&id));
        found.unwrap_or_else(|| panic!("no attribute {id}"))
    }

    /// The attribute of this id, to be changed without moving a clock.
    pub fn attribute_mut(&mut self, id: u64) -> &mut Attribute {
        let found = self.events.values_mut().find_map(|event| event.attributes.get_mut(&id));
        found.unwrap_or_else(|| panic!("no attribute {id}"))
    }

    /// The event an attribute is in.
    pub fn home(&self, attribute: u64) -> u64 {
        let found = self.events.values().find(|event| event.attributes.contains_key(&attribute));
        found.unwrap_or_else(|| panic!("no attribute {attribute}")).id
    }

    /// Every attribute, deleted ones too, by event.
    pub fn all(&self) -> impl Iterator<Item = (&Event, &Attribute)> {
        self.events.values().flat_map(|event| event.attributes.values().map(move |attribute| (event, attribute)))
    }

    /// The id of the tag with exactly this name.
    pub fn tag_id(&self, name: &str) -> Option<u64> {
        self.tags.values().find(|tag| tag.name == name).map(|tag| tag.id)
    }

    /// The tag with this name; made if there is none.
    pub fn add_tag(&mut self, name: &str) -> u64 {
        if let Some(id) = self.tag_id(name) {
            return id;
        }
        let id = taken(&mut self.counters.tag, None);
        let tag = Tag { id, name: name.into(), colour: "#112233".into(), exportable: true, is_galaxy: false };
        self.tags.insert(id, tag);
        id
    }

    /// The next UUID; the same run gives the same ones.
    pub fn next_uuid(&mut self) -> String {
        self.counters.uuid += 1;
        let mixed = u128::from(self.counters.uuid).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        uuid::Builder::from_random_bytes(mixed.to_be_bytes()).into_uuid().to_string()
    }
}

/// The id asked for, or the next free one.
pub(super) fn taken(counter: &mut u64, wanted: Option<u64>) -> u64 {
    let id = wanted.unwrap_or(*counter + 1);
    *counter = id.max(*counter);
    id
}
