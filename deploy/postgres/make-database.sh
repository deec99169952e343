#!/bin/sh
# Run once by the image of PostgreSQL, when its data folder is empty: chatkeep's role, which is no superuser, and its database.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$CHATKEEP_DATABASE_PASSWORD" --username "$POSTGRES_USER" --dbname postgres <<'END'
CREATE ROLE chatkeep LOGIN CREATEROLE PASSWORD :'password';
CREATE DATABASE chatkeep OWNER chatkeep TEMPLATE template0 ENCODING 'UTF8';
END
