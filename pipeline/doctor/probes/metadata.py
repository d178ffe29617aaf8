"""Makes an SQLite store of ML Metadata in a temporary folder and reads it back; prints JSON."""

import json
import tempfile


def main() -> None:
    """Prints the version; fails where what was stored is not there."""
    import ml_metadata
    from ml_metadata.proto import metadata_store_pb2 as proto

    with tempfile.TemporaryDirectory() as folder:
        config = proto.ConnectionConfig()
        config.sqlite.filename_uri = f"{folder}/metadata.sqlite"
        config.sqlite.connection_mode = proto.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        kind = proto.ArtifactType(name="Doctor", properties={"number": proto.INT})
        written = ml_metadata.MetadataStore(config).put_artifact_type(kind)
        read = ml_metadata.MetadataStore(config).get_artifact_type("Doctor")
        if read.id != written or read.properties["number"] != proto.INT:
            raise SystemExit(f"the store gave back another type than was stored: {read}")
    print(json.dumps({"version": ml_metadata.__version__}))


if __name__ == "__main__":
    main()
