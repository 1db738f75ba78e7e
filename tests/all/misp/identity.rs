//! Who asks: organisations, users with their role, keys; and what a user is told about itself.

use serde_json::{Map, Value, json};

use super::world::World;

/// The site administrator every world has, of organisation 1.
pub const ADMIN: u64 = 1;
/// The read-only user every world has, of organisation 2.
pub const READER: u64 = 3;
/// A key of [`ADMIN`].
pub const ADMIN_KEY: &str = "AdminKey1AdminKey2AdminKey3AdminKey4Adm5";
/// A key of [`READER`].
pub const READER_KEY: &str = "ReaderKey1ReaderKey2ReaderKey3ReaderKey4";

/// An organisation.
#[derive(Clone, Debug)]
pub struct Organisation {
    pub id: u64,
    pub name: String,
    pub uuid: String,
    pub local: bool,
}

/// A user; its role is its own.
#[derive(Clone, Debug)]
pub struct User {
    pub id: u64,
    pub org_id: u64,
    pub email: String,
    pub disabled: bool,
    pub role: Role,
    /// The user setting `default_restsearch_parameters`: merged under every search.
    pub default_search: Map<String, Value>,
}

/// What a user may.
#[derive(Clone, Debug)]
pub struct Role {
    pub id: u64,
    pub name: String,
    pub site_admin: bool,
    pub sync: bool,
    /// May use keys at all.
    pub auth: bool,
    /// Replaces the server's memory limit, in MB.
    pub memory_limit: Option<f64>,
    /// Searches per quarter of an hour.
    pub rate_limit: Option<u64>,
}

/// A key of a user.
#[derive(Clone, Debug)]
pub struct Key {
    /// What the request log calls it.
    pub name: String,
    pub user: u64,
    /// The address it may be used from is another one.
    pub elsewhere: bool,
    /// It ends here, and every answer says so.
    pub expires: Option<i64>,
}

impl World {
    /// Makes this a key of that user.
    pub fn key(&mut self, key: &str, user: u64) -> &mut Key {
        assert!(is_key(key), "a key is 40 letters and digits");
        let name = self.users.get(&user).unwrap_or_else(|| panic!("no user {user}")).email.clone();
        self.keys.insert(key.into(), Key { name, user, elsewhere: false, expires: None });
        self.keys.get_mut(key).expect("just put in")
    }

    /// The user behind a good key.
    pub fn user_of(&self, key: &str) -> &User {
        let key = self.keys.get(key).expect("a key of this world");
        &self.users[&key.user]
    }

    /// Adds an organisation.
    pub fn add_organisation(&mut self, name: &str) -> u64 {
        let id = self.organisations.keys().max().map_or(1, |last| last + 1);
        let uuid = self.next_uuid();
        self.organisations.insert(id, Organisation { id, name: name.into(), uuid, local: true });
        id
    }

    /// Adds a read-only user.
    pub fn add_user(&mut self, email: &str, org_id: u64) -> &mut User {
        let id = self.users.keys().max().map_or(1, |last| last + 1);
        let user = User { id, org_id, email: email.into(), ..reader() };
        self.users.entry(id).or_insert(user)
    }

    /// What every world starts with.
    pub(super) fn found(&mut self) {
        let known = [
            (1, "ORGNAME", "b29272d9-6eca-47ea-a47e-c5cf62e07812"),
            (2, "Org-B", "17641d98-fa76-4b4f-81eb-10a54bae507f"),
        ];
        for (id, name, uuid) in known {
            self.organisations.insert(id, Organisation { id, name: name.into(), uuid: uuid.into(), local: true });
        }
        let role = Role { id: 1, name: "admin".into(), site_admin: true, sync: true, ..reader().role };
        let admin = User { id: ADMIN, org_id: 1, email: "admin@misp.example.net".into(), role, ..reader() };
        self.users.insert(ADMIN, admin);
        self.users.insert(READER, reader());
        self.key(ADMIN_KEY, ADMIN).name = "admin".into();
        self.key(READER_KEY, READER).name = "reader".into();
    }
}

fn reader() -> User {
    let role = Role {
        id: 6,
        name: "Read Only".into(),
        site_admin: false,
        sync: false,
        auth: true,
        memory_limit: None,
        rate_limit: None,
    };
    User {
        id: READER,
        org_id: 2,
        email: "reader@org-b.example.net".into(),
        disabled: false,
        role,
        default_search: Map::new(),
    }
}

/// Whether MISP looks a text up as a key.
pub fn is_key(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `/servers/getVersion`.
pub fn version(world: &World, user: &User) -> Value {
    let sync = user.role.sync;
    json!({
        "version": world.settings.version,
        "pymisp_recommended_version": world.settings.version,
        "perm_sync": sync,
        "perm_sighting": user.role.site_admin,
        "perm_galaxy_editor": user.role.site_admin,
        "perm_analyst_data": user.role.site_admin,
        "uuid": if sync { "00000000-0000-4000-8000-000000000001" } else { "-" },
        "request_encoding": ["gzip"],
        "filter_sightings": true,
    })
}

/// `/users/view/me`.
pub fn me(world: &World, user: &User) -> Value {
    json!({
        "User": account(user),
        "Role": role(&user.role),
        "UserSetting": [],
        "Organisation": organisation(&world.organisations[&user.org_id]),
    })
}

fn account(user: &User) -> Value {
    json!({
        "id": user.id.to_string(),
        "password": "*****",
        "org_id": user.org_id.to_string(),
        "email": user.email,
        "autoalert": false,
        "invited_by": "0",
        "gpgkey": null,
        "certif_public": "",
        "nids_sid": "4000000",
        "termsaccepted": true,
        "newsread": "0",
        "role_id": user.role.id.to_string(),
        "change_pw": false,
        "contactalert": false,
        "disabled": user.disabled,
        "expiration": null,
        "current_login": "0",
        "last_login": "0",
        "force_logout": false,
        "date_created": null,
        "date_modified": "1795485214",
        "sub": null,
        "external_auth_required": false,
        "external_auth_key": null,
        "last_api_access": "1795485214",
        "notification_daily": false,
        "notification_weekly": false,
        "notification_monthly": false,
        "totp": "*****",
        "hotp_counter": null,
        "last_pw_change": null,
        "totp_is_set": "0",
    })
}

/// The rights that go with being a site administrator; the others are written out below.
const ADMIN_RIGHTS: &[&str] = &[
    "add",
    "modify",
    "modify_org",
    "publish",
    "delegate",
    "admin",
    "site_admin",
    "regexp_access",
    "tagger",
    "template",
    "sharing_group",
    "tag_editor",
    "sighting",
    "object_template",
    "publish_zmq",
    "publish_kafka",
    "decaying",
    "galaxy_editor",
    "warninglist",
    "view_feed_correlations",
    "analyst_data",
];

fn role(role: &Role) -> Value {
    let mut out = json!({
        "id": role.id.to_string(),
        "name": role.name,
        "created": "2026-11-24 01:53:00",
        "modified": "2026-11-24 01:53:00",
        "perm_sync": role.sync,
        "perm_audit": true,
        "perm_auth": role.auth,
        "perm_skip_otp": false,
        "default_role": false,
        "memory_limit": role.memory_limit.map(|mb| format!("{mb}M")),
        "max_execution_time": null,
        "restricted_to_site_admin": false,
        "enforce_rate_limit": role.rate_limit.is_some(),
        "rate_limit_count": role.rate_limit.unwrap_or(0).to_string(),
        "permission": if role.site_admin { "3" } else { "0" },
        "permission_description": if role.site_admin { "publish" } else { "read_only" },
    });
    ADMIN_RIGHTS.iter().for_each(|right| out[format!("perm_{right}")] = role.site_admin.into());
    out
}

fn organisation(organisation: &Organisation) -> Value {
    json!({
        "id": organisation.id.to_string(),
        "name": organisation.name,
        "date_created": "2026-11-24 01:53:20",
        "date_modified": "2026-11-24 01:53:20",
        "description": null,
        "type": "",
        "nationality": "",
        "sector": "",
        "created_by": "0",
        "uuid": organisation.uuid,
        "contacts": null,
        "local": organisation.local,
        "restricted_to_domain": null,
        "landingpage": null,
    })
}
