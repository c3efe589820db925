//! Keys that are made and revoked while publishers and viewers come and stay.

use headwater::access::KeyGrant;

use super::rig::Rig;
use super::support::server::PATIENCE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_lets_its_publisher_in_until_it_is_revoked() {
    let rig = Rig::start(|_| {}).await;
    let key = rig.key("show", KeyGrant::Publish).await;
    let secret = key.secret.reveal();
    for wrong in ["show?key=guess", "show", &format!("other?key={secret}")] {
        let said = rig.refused(wrong).await;
        assert!(said.contains("wrong stream key"), "{wrong}: {said}");
    }
    let mut ffmpeg = rig.publish(&format!("show?key={secret}"));
    rig.live("show").await;
    rig.server.access().revoke_key(&key.key.id).await.unwrap();
    ffmpeg.process.exit(PATIENCE).await;
    assert!(rig.server.access().is_open(), "that was the last key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotating_a_key_ends_who_came_with_the_old_one_and_nobody_else() {
    let rig = Rig::start(|_| {}).await;
    let (mine, other) = (rig.key("mine", KeyGrant::Publish).await, rig.key("other-*", KeyGrant::Publish).await);
    let mut ffmpeg = rig.publish(mine.secret.reveal());
    let mut beside = rig.publish(&format!("other-1?key={}", other.secret.reveal()));
    rig.live("mine").await;
    rig.live("other-1").await;
    let fresh = rig.server.access().rotate_key(&mine.key.id).await.unwrap();
    ffmpeg.process.exit(PATIENCE).await;
    assert!(rig.refused(mine.secret.reveal()).await.contains("wrong stream key"));
    let mut again = rig.publish(fresh.secret.reveal());
    rig.live("mine").await;
    assert!(again.process.runs() && beside.process.runs());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whip_and_whep_sessions_end_with_their_keys() {
    let rig = Rig::start(|_| {}).await;
    let publish = rig.key("show", KeyGrant::Publish).await;
    let (watch, other) = (rig.key("show", KeyGrant::Play).await, rig.key("show", KeyGrant::Play).await);
    let _ffmpeg = rig.publish(publish.secret.reveal());
    rig.live("show").await;

    let (reply, _) = rig.offer("/whep/show", None).await;
    assert_eq!((reply.status, reply.body.contains("private")), (401, true), "{}", reply.body);
    let (reply, _) = rig.offer("/whip/show", Some("guess")).await;
    assert_eq!((reply.status, reply.body.contains("wrong stream key")), (401, true), "{}", reply.body);

    let viewer = rig.join("/whep/show", Some(watch.secret.reveal())).await;
    let by_address = format!("/whep/show?token={}", other.secret.reveal());
    let stays = rig.join(&by_address, None).await;
    let (half_done, _) = rig.offer("/whep/show", Some(watch.secret.reveal())).await;
    rig.server.access().revoke_key(&watch.key.id).await.unwrap();
    let took = rig.gone(&viewer.location).await;
    rig.gone(half_done.header("location").unwrap()).await;
    println!("the viewer was gone {took:?} after its key");
    assert_eq!(rig.ask("GET", &format!("{}/status", stays.location), None, "").await.status, 200);

    let camera = rig.key("cam", KeyGrant::Publish).await;
    let publisher = rig.join("/whip/cam", Some(camera.secret.reveal())).await;
    rig.server.access().revoke_key(&camera.key.id).await.unwrap();
    let took = rig.gone(&publisher.location).await;
    println!("the publisher was gone {took:?} after its key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_keys_and_the_admin_token() {
    let rig = Rig::start(|_| {}).await;
    let key = rig.key("show", KeyGrant::Publish).await;
    let token = rig.server.access().made_admin_token().unwrap().reveal().to_owned();
    let Rig { server, data, .. } = rig;
    server.drain(PATIENCE).await;
    let folder = data.path().to_owned();
    let rig = Rig::start(|config| config.data.dir = folder).await;
    assert_eq!(rig.server.access().keys().len(), 1);
    assert!(rig.server.access().made_admin_token().is_none());
    let kept = std::fs::read_to_string(data.path().join("admin-token")).unwrap();
    assert_eq!(kept.trim(), token);
    let mut ffmpeg = rig.publish(key.secret.reveal());
    rig.live("show").await;
    assert!(ffmpeg.process.runs());
}
