// The description of the interface is shown by one viewer, at this address.
location.replace('/v1/help');
