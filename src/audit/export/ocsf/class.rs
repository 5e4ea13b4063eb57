//! The OCSF classes of records, with their activities.

/// A class with its activity.
#[derive(Debug, Clone, Copy)]
pub(in crate::audit) struct Class {
    pub(super) category: u32,
    pub(super) uid: u32,
    pub(super) activity: u32,
}

impl Class {
    pub(in crate::audit) const LOGON: Self = Self::new(3002, 1);
    pub(in crate::audit) const LOGOFF: Self = Self::new(3002, 2);
    pub(in crate::audit) const PREAUTH: Self = Self::new(3002, 6);
    pub(in crate::audit) const PRIVILEGES: Self = Self::new(3003, 1);
    pub(in crate::audit) const API_READ: Self = Self::new(6003, 2);
    pub(in crate::audit) const API_UPDATE: Self = Self::new(6003, 3);
    pub(in crate::audit) const APP_START: Self = Self::new(6002, 3);
    pub(in crate::audit) const APP_STOP: Self = Self::new(6002, 4);
    pub(in crate::audit) const FINDING: Self = Self::new(2004, 1);
    pub(in crate::audit) const INCIDENT_OPENED: Self = Self::new(2005, 1);
    pub(in crate::audit) const INCIDENT_CLOSED: Self = Self::new(2005, 3);

    pub(super) const fn new(uid: u32, activity: u32) -> Self {
        Self {
            // The first digit of a class is its category.
            category: uid / 1000,
            uid,
            activity,
        }
    }
}
